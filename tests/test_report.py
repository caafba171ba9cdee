"""The report page and the short tables, on fabricated results made from a seed (no study is run)."""

import random
import re
from html.parser import HTMLParser

import pytest

from jaxemo.report import headline_tables, summary_table, write_report
from jaxemo.report import rows as r
from jaxemo.report.charts import LEVELS
from jaxemo.report.page import TEMPLATES

EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful"]
DOMAINS = ["speech", "music"]
ENCODERS = {"speech-small": ("untrained", 4), "music-small": ("untrained", 4)}
BASELINE = "acoustic baseline (librosa)"
VOID = {"meta", "br", "hr", "img", "link", "input"}


def fabricated_results(*, seed=0, encoders=ENCODERS, emotions=EMOTIONS, folds=6) -> dict:
    """A results dict of the documented schema with invented figures; one fold has no intervals."""
    draw = random.Random(seed)

    def figure(mean: float, half: float) -> dict:
        if folds == 1:
            return {"mean": mean, "low": None, "high": None}
        return {"mean": mean, "low": mean - half, "high": mean + half}

    return {
        "layers": _layers(draw, figure, encoders=encoders, emotions=emotions, folds=folds),
        "confusions": _confusions(draw, encoders=encoders, emotions=emotions),
        "transfer": _transfer(draw, figure, encoders=encoders, emotions=emotions, folds=folds),
        "layer_weights": _layer_weights(draw, figure, encoders=encoders),
        "similarity": _similarity(draw, figure, encoders=encoders, emotions=emotions),
        "corpus": [
            {
                "corpus": "made-up",
                "domain": d,
                "emotion": e,
                "clips": 40 + i,
                "speakers": 12,
                "seconds": 100.5 + i,
            }
            for d in DOMAINS
            for i, e in enumerate(emotions)
        ],
        "folds": [
            {"fold": f, "part": p, "speakers": s, "clips_speech": 48, "clips_music": 40}
            for f in range(folds)
            for p, s in (("train", "a/01, a/02"), ("dev", "a/03"), ("test", f"a/1{f}, a/2{f}"))
        ],
        "left_out": [
            {"path": "clips/silent.wav", "reason": "silent: peak level 0"},
            {"path": "clips/short.wav", "reason": "120 samples; the encoder needs 400"},
        ],
        "provenance": {
            "command": "jaxemo study --config=configs/demo.py --workdir=runs/demo",
            "started": "2026-11-22T19:30:00+00:00",
            "wall_seconds": {"layers": 31.2, "transfer": 95.0, "similarity": 8.4},
            "config": {"seed": 0, "corpus": {"kind": "synthetic"}, "folds": [0, 1]},
            "corpus_hash": "0f3a9c1d",
            "encoders": [
                {
                    "name": n,
                    "source": "synthetic",
                    "origin": o,
                    "fingerprint": "ab12",
                    "sample_rate_hz": 16000,
                }
                for n, (o, _) in encoders.items()
            ],
            "versions": {"jax": "0.10.2", "flax": "0.12.8"},
            "device": "cpu x 1",
            "notes": ["Synthetic corpus: clips are generated, not recorded."],
        },
    }


def _layers(draw, figure, *, encoders, emotions, folds) -> list[dict]:
    rows = []
    depths = {name: (origin, depth) for name, (origin, depth) in encoders.items()}
    for name, (origin, depth) in {**depths, BASELINE: ("hand-made", 0)}.items():
        for domain in DOMAINS:
            for layer in range(depth + 1):
                common = {"encoder": name, "origin": origin, "domain": domain, "layer": layer}
                common |= {"num_layers": depth, "n": 288, "folds": folds, "seeds": 1}
                hump = 0.18 * (1 - ((layer - 0.6 * depth) / (depth + 1)) ** 2)
                base = 0.3 + hump + (0.06 if domain == "speech" else 0) + draw.gauss(0, 0.012)
                for metric, shift in (("UA", 0), ("WA", 0.02), ("macro_F1", -0.03)):
                    chance = None if metric == "macro_F1" else 1 / len(emotions)
                    score = figure(base + shift, 0.045)
                    rows.append(
                        {**common, "emotion": "all", "metric": metric, "chance": chance, **score}
                    )
                for emotion in emotions:
                    score = figure(min(0.95, max(0.05, draw.gauss(base, 0.12))), 0.05)
                    rows.append(
                        {**common, "emotion": emotion, "metric": "recall", "chance": None, **score}
                    )
    return rows


def _confusions(draw, *, encoders, emotions) -> list[dict]:
    rows = []
    keys = [
        {
            "study": "layers",
            "encoder": e,
            "domain": d,
            "layer": 2,
            "method": None,
            "direction": None,
        }
        | {"regime": None}
        for e in encoders
        for d in DOMAINS
    ]
    keys += [
        {
            "study": "transfer",
            "encoder": e,
            "domain": t.split(">")[1],
            "layer": None,
            "method": "lora",
        }
        | {"direction": t, "regime": g}
        for e in encoders
        for t in ("music->speech", "speech->music")
        for g in ("target_only", "two_stage")
    ]
    for key in keys:
        for true in emotions:
            for answer in emotions:
                n = draw.randint(18, 30) if true == answer else draw.randint(0, 9)
                rows.append({**key, "emotion": true, "predicted": answer, "count": n})
    return rows


def _transfer(draw, figure, *, encoders, emotions, folds) -> list[dict]:
    sizes = {"weighted_sum": 7, "lora": 9_222, "adapter": 20_480, "full": 812_000}
    rows = []
    for name, (origin, _) in encoders.items():
        for direction in ("music->speech", "speech->music"):
            for method, size in sizes.items():
                common = {"encoder": name, "origin": origin, "method": method}
                common |= {"direction": direction, "domain": direction.split(">")[1]}
                common |= {"n": 288, "folds": folds, "seeds": 1, "chance": 1 / len(emotions)}
                common |= {"trainable_parameters": size}
                base = draw.uniform(0.35, 0.5)
                gains = {"target_only": 0.0, "two_stage": draw.gauss(0.015, 0.02)}
                gains |= {"joint": draw.gauss(0.0, 0.02)} if method == "lora" else {}
                for regime, gain in gains.items():
                    scores = _transfer_scores(draw, figure, base + gain, emotions)
                    if regime != "target_only":
                        scores.append(
                            {"metric": "UA_gain", "emotion": "all", **figure(gain, 0.018)}
                        )
                    rows += [{**common, "regime": regime, **score} for score in scores]
    return rows


def _transfer_scores(draw, figure, mean, emotions) -> list[dict]:
    shifts = {"UA": 0, "WA": 0.02, "macro_F1": -0.03}
    scores = [{"metric": m, "emotion": "all", **figure(mean + s, 0.04)} for m, s in shifts.items()]
    recalls = {e: figure(draw.uniform(0.2, 0.7), 0.05) for e in emotions}
    return scores + [{"metric": "recall", "emotion": e, **v} for e, v in recalls.items()]


def _layer_weights(draw, figure, *, encoders) -> list[dict]:
    return [
        {"encoder": e, "method": "weighted_sum", "direction": t, "regime": g, "layer": layer}
        | figure(draw.uniform(0.5, 1.5) / (depth + 1), 0.1 / (depth + 1))
        for e, (_, depth) in encoders.items()
        for t in ("music->speech", "speech->music")
        for g in ("target_only", "two_stage")
        for layer in range(depth + 1)
    ]


def _similarity(draw, figure, *, encoders, emotions) -> list[dict]:
    rows = []
    sizes = {
        "n_a": 9000,
        "n_b": 11000,
        "clips_a": 48,
        "clips_b": 44,
        "d": 64,
        "small_sample": False,
    }
    for name, (origin, depth) in encoders.items():
        common = {"encoder": name, "origin": origin, "metric": "FAD", **sizes}
        bias = {e: draw.uniform(0.7, 1.4) for e in emotions}
        for layer in range(depth + 1):
            scale = 4 + 3.0 * layer
            for e in emotions:
                for kind, share in (
                    ("cross_domain", bias[e]),
                    ("null_speech", 0.15),
                    ("null_music", 0.2),
                ):
                    mean = scale * share * draw.uniform(0.9, 1.1)
                    row = {
                        **common,
                        "layer": layer,
                        "comparison": kind,
                        "emotion": e,
                        "other_emotion": e,
                    }
                    small = (
                        {"n_a": 100, "small_sample": True} if e == "neutral" and layer == 0 else {}
                    )
                    rows.append({**row, **figure(mean, 0.08 * mean), **small})
        for e in emotions:
            for other in emotions:
                mean = 10 * bias[e] * (0.9 if e == other else draw.uniform(0.85, 1.5))
                row = {
                    "layer": depth // 2,
                    "comparison": "cross_emotion",
                    "emotion": e,
                    "other_emotion": other,
                }
                rows.append({**common, **row, **figure(mean, 0.08 * mean)})
    return rows


class _Page(HTMLParser):
    """Collects tags, attributes and text, and notes every tag that closes out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.wrong, self.tags, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, *names) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag in names]


def drawn(results: dict, tmp_path) -> tuple[str, _Page]:
    html = write_report(results, tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    page.close()
    return html, page


BIG = {
    "facebook/wav2vec2-base": ("published", 12),
    "facebook/hubert-large-ll60k": ("published", 24),
    "microsoft/wavlm-large": ("published", 24),
    "somebody/a-very-long-name-of-a-music-encoder-330M": ("published", 24),
}
CASES = {
    "demo": fabricated_results(),
    "one fold": fabricated_results(folds=1),
    "big": fabricated_results(
        seed=3, encoders=BIG, emotions=[*EMOTIONS, "disgust", "surprised", "awe"], folds=2
    ),
    "empty": {},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, tuple[str, _Page]]:
    """Each case drawn once."""
    return {name: drawn(case, tmp_path_factory.mktemp("case")) for name, case in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_page_is_well_formed_and_loads_nothing(case, pages):
    html, page = pages[case]
    assert not page.wrong and not page.open
    assert not page.of("script", "link", "iframe", "img", "object", "base")
    assert not re.search(r"https?:|url\(|@import|javascript:|\son\w+=", html)
    links = [a["href"] for a in page.of("a")]
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert all(link[0] == "#" and link[1:] in targets for link in links)


@pytest.mark.parametrize("case", CASES)
def test_identifiers_are_unique_and_charts_and_tables_are_named(case, pages):
    _, page = pages[case]
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(
        identifiers
    )
    charts = [a for a in page.of("svg") if a.get("aria-hidden") != "true"]
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(a.get("scope") in ("row", "col") for a in page.of("th"))


@pytest.mark.parametrize("case", ["demo", "one fold", "big"])
def test_every_figure_of_every_row_is_on_the_page(case, pages):
    html, _ = pages[case]
    cells = set(re.findall(r">([^<>]+)<", html))
    shown = {"UA_gain": r.points, "FAD": r.distance}
    for section in ("layers", "transfer", "layer_weights", "similarity"):
        for row in CASES[case][section]:
            text = r.with_interval(row, shown.get(row.get("metric"), r.percent))
            assert text in cells or f"{text}†" in cells, (section, row)
    for row in CASES[case]["confusions"]:
        assert str(row["count"]) in cells
    for row in CASES[case]["left_out"]:
        assert {row["path"], row["reason"]} <= cells


def test_hostile_strings_are_shown_and_not_obeyed(tmp_path):
    hostile = "<script>alert(1)</script>\"'><svg onload=x>&amp;"
    results = fabricated_results(encoders={hostile: ("untrained", 2)})
    results["left_out"] = [{"path": hostile, "reason": hostile}]
    results["folds"][0]["speakers"] = hostile
    results["provenance"] |= {"command": hostile, "notes": [hostile], "config": {hostile: hostile}}
    for row in results["confusions"] + results["similarity"]:
        row["emotion"] = hostile if row["emotion"] == "sad" else row["emotion"]
    _, page = drawn(results, tmp_path)
    assert not page.of("script") and not page.wrong
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert hostile in "".join(page.text)
    assert any(hostile in a.get("aria-label", "") for a in page.of("svg"))
    assert "<script>" not in headline_tables(results).replace("\\<", "")


def test_names_that_no_encoding_or_eye_can_take_become_visible_escapes(tmp_path):
    results = {"left_out": [{"path": "a\udcff\x00b\u202egpj.wav\n", "reason": "corrupt"}]}
    _, page = drawn(results, tmp_path)
    assert r"a\udcff\x00b\u202egpj.wav\n" in "".join(page.text)


SECTIONS = {
    "layers": {"layers"},
    "transfer": {"transfer"},
    "layer_weights": {"transfer"},
    "similarity": {"similarity"},
    "confusions": {"confusions"},
    "corpus": {"corpus"},
    "left_out": {"corpus"},
    "provenance": {"provenance"},
}


@pytest.mark.parametrize("given", SECTIONS)
def test_a_study_run_alone_gives_only_its_section(given, tmp_path):
    _, page = drawn({given: fabricated_results()[given]}, tmp_path)
    sections = {a["id"] for a in page.of("section")} - {"findings"}
    assert sections == SECTIONS[given]


def test_untrained_encoders_are_called_so_wherever_they_appear(tmp_path):
    results = fabricated_results()
    _, page = drawn(results, tmp_path)
    labels = [a["aria-label"] for a in page.of("svg") if "aria-label" in a]
    naming = [t for t in page.text + labels if "speech-small" in t or "music-small" in t]
    unmarked = sorted(t for t in naming if "(untrained)" not in t)
    # The provenance table has the origin in its next column; the first words on the page say the rest.
    assert unmarked[:2] == ["music-small", "speech-small"] and len(unmarked) == 3
    assert unmarked[2].startswith("speech-small and music-small have random weights.")
    assert summary_table(results).count("speech-small") == summary_table(results).count(
        "speech-small (untrained)"
    )


def test_one_fold_draws_no_interval_and_claims_none(tmp_path):
    results = fabricated_results(folds=1)
    html, page = drawn(results, tmp_path)
    text = " ".join(page.text)
    assert "one fold, so scores carry no interval" in text
    assert "without an interval it shows nothing by itself" in text
    assert "excludes 0;" not in text and "interval excludes 0." not in text
    assert not re.search(r'class="(band|whisker) (speech|music|emotion)', html)


def test_findings_name_the_highest_layer_the_largest_gain_and_the_nearest_emotion(tmp_path):
    results = fabricated_results()
    for row in results["layers"]:
        if row["encoder"] == "speech-small" and row["domain"] == "speech" and row["metric"] == "UA":
            row |= {"mean": 0.9, "low": 0.85, "high": 0.95} if row["layer"] == 1 else {}
    gains = [row for row in results["transfer"] if row["metric"] == "UA_gain"]
    gains[3] |= {"mean": 0.2, "low": -0.01, "high": 0.41}
    for row in results["similarity"]:
        if row["comparison"] == "cross_domain":
            row["mean"] *= {"sad": 0.01, "calm": 100}.get(row["emotion"], 1)
    text = " ".join("".join(drawn(results, tmp_path)[1].text).split())
    assert "speech highest at layer 1 of 4, UA 90.0 [85.0, 95.0] % (chance 16.7 %)" in text
    assert f"+20.0 [{r.MINUS}1.0, +41.0] points of UA" in text
    assert "its interval includes 0, so this run does not show a gain" in text
    assert "sad lies nearest across the domains" in text and "calm farthest" in text
    assert re.search(r"sad +0\.\d+ +calm", summary_table(results))


def test_unknown_figures_are_left_out_of_charts_and_shown_as_unknown(tmp_path):
    results = fabricated_results()
    for section in ("layers", "transfer", "layer_weights", "similarity"):
        for row in results[section]:
            row |= {"mean": None, "low": None, "high": None}
    html, page = drawn(results, tmp_path)
    assert not page.wrong and f">{r.UNKNOWN}<" in html
    assert not re.search(r"\b(nan|inf|None)\b", html)


def test_scores_at_the_ends_of_the_scale_stay_inside_their_chart(tmp_path):
    results = fabricated_results()
    for i, row in enumerate(results["layers"] + results["transfer"]):
        row |= {"mean": float(i % 2), "low": i % 2 - 0.2, "high": i % 2 + 0.2}
    for i, row in enumerate(results["similarity"]):
        row |= {"mean": (0.0, 1e-9, 1e9)[i % 3], "low": None, "high": None}
    _, page = drawn(results, tmp_path)
    charts = [a for a in page.of("svg") if a["class"] == "chart"]
    assert charts and not page.wrong
    tallest = max(float(a["viewbox"].split()[3]) for a in charts)
    for a in page.of("line"):
        assert all(-1 <= float(a[k]) <= 361 for k in ("x1", "x2"))
        assert all(-1 <= float(a[k]) <= tallest for k in ("y1", "y2"))


def test_all_cells_and_column_names_fit_the_width_of_a_matrix(pages):
    _, page = pages["big"]
    rectangles = [a for a in page.of("rect") if "cell" in a.get("class", "")]
    assert all(float(a["x"]) + float(a["width"]) <= 360 for a in rectangles)
    assert min(float(a["width"]) for a in rectangles if float(a["height"]) > 12) > 20


def test_missing_columns_and_numbers_that_are_none_are_named_at_once(tmp_path):
    results = fabricated_results()
    del results["layers"][3]["chance"], results["transfer"][0]["method"]
    results["similarity"][0]["mean"] = float("nan")
    with pytest.raises(ValueError) as error:
        write_report(results, tmp_path / "report.html")
    for fault in ("layers lacks chance", "transfer lacks method", "similarity has NaN or infinity"):
        assert fault in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_each_colour_of_text_meets_contrast_aa_in_both_themes():
    for colours in _themes():
        pairs = [(f"on{i}", f"q{i}") for i in range(LEVELS)]
        pairs += [
            (ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "card")
        ]
        for text, ground in [*pairs, ("ink", "note")]:
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for line in ["speech", "music", *(f"emotion-{i}" for i in range(8))]:
            assert _contrast(colours[line], colours["paper"]) >= 3, line


def test_each_class_that_the_charts_use_is_styled(pages):
    _, page = pages["big"]
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    used = {name for _, a in page.tags for name in a.get("class", "").split()}
    unstyled = {name for name in used if f".{name}" not in css and not name.startswith("of-")}
    assert unstyled <= {"tick", "two-stage", "best", "panel", "chance", "corner"}


def test_summary_is_short_plain_ascii_and_markdown_tables_are_rectangular():
    results = fabricated_results()
    summary = summary_table(results)
    assert summary.isascii() and len(summary.splitlines()) < 40
    assert "music -> speech" in summary and "UA" in summary and "FAD" in summary
    for block in headline_tables(results).split("\n\n")[1::2]:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert summary_table({}) == "The results hold no figures." and headline_tables({}) == ""


def _themes() -> list[dict[str, str]]:
    """The light colours, and the light ones with the dark ones laid over."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", b)) for b in re.findall(r":root \{([^}]*)\}", css)
    )
    assert light.keys() - dark.keys() == set()
    return [light, light | dark]


def _contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two sRGB colours."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
