"""Invented results of the documented schema, made from a seed, and pages drawn of them."""

import random
from html.parser import HTMLParser

from jaxemo.report import write_report

EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful"]
DOMAINS = ["speech", "music"]
ENCODERS = {"speech-small": ("untrained", 4), "music-small": ("untrained", 4)}
BASELINE = "acoustic baseline (librosa)"
NO_INTERVAL = "3 speakers; an interval needs 4"


def fabricated_results(*, seed=0, encoders=ENCODERS, emotions=EMOTIONS, folds=6) -> dict:
    """A results dict of the documented schema with invented figures; one fold has no intervals."""
    draw = random.Random(seed)

    def figure(mean: float, half: float) -> dict:
        if folds == 1:
            return {"mean": mean, "low": None, "high": None}
        return {"mean": mean, "low": mean - half, "high": mean + half}

    return {
        "layers": _layers(draw, figure, encoders=encoders, emotions=emotions, folds=folds),
        "layer_choices": _layer_choices(figure, encoders=encoders, emotions=emotions, folds=folds),
        "probes": _probes(figure, encoders=encoders, emotions=emotions, folds=folds),
        "controls": _controls(figure, encoders=encoders, emotions=emotions, folds=folds),
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
                common |= {"num_layers": depth + 1, "n": 288, "folds": folds, "seeds": 1}
                common |= {"converged": 1.0, "speakers": 24, "reason": "", "seed_spread": None}
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


def _layer_choices(figure, *, encoders, emotions, folds) -> list[dict]:
    """Layer 2 is chosen by most runs; the input is clearly lower, the others are not."""
    rows = []
    for name, (origin, depth) in encoders.items():
        for domain in DOMAINS:
            common = {"encoder": name, "origin": origin, "domain": domain, "speakers": 24}
            common |= {"reason": "", "n": 288, "folds": folds, "seeds": 1, "chance": None}
            untested = dict.fromkeys(("p_value", "p_corrected", "chosen", "layer"))
            chance = {"chance": 1 / len(emotions)}
            rows.append({**common, **untested, **chance, **figure(0.52, 0.04)})
            for layer in range(depth + 1):
                p = {"p_value": 0.001, "p_corrected": 0.004} if layer == 0 else {}
                p = p or {"p_value": 0.3, "p_corrected": 0.9}
                chosen = {1: 1 / 3, 2: 2 / 3}.get(layer, 0.0)
                difference = figure(-0.12 if layer == 0 else -0.01, 0.03)
                rows.append({**common, "layer": layer, "chosen": chosen, **p, **difference})
    return rows


def _probes(figure, *, encoders, emotions, folds) -> list[dict]:
    """An MLP on every layer, one of which has not converged, and a weighted sum of them."""
    rows = []
    for name, (origin, depth) in encoders.items():
        for domain in DOMAINS:
            for probe, layer in (
                *(("mlp", layer) for layer in (*range(depth + 1), None)),
                ("weighted_sum", None),
            ):
                common = {"encoder": name, "origin": origin, "domain": domain, "probe": probe}
                common |= {"layer": layer, "emotion": "all", "n": 288, "folds": folds, "seeds": 1}
                common |= {"speakers": 24, "reason": "", "seed_spread": None}
                common["converged"] = 0.9 if layer == 0 else 1.0
                score = {"metric": "UA", "chance": 1 / len(emotions), "p_value": None}
                rows.append({**common, **score, **figure(0.51, 0.05)})
                gap = {"metric": "UA_difference", "chance": None, "p_value": 0.4}
                rows.append({**common, **gap, **figure(0.01, 0.03)})
    return rows


def _controls(figure, *, encoders, emotions, folds) -> list[dict]:
    """Zero-shot is 12 points lower than the domain's own probe, new sentences are not told from it."""
    rows = []
    for name, (origin, depth) in encoders.items():
        for domain in DOMAINS:
            for layer in range(depth + 1):
                common = {"encoder": name, "origin": origin, "domain": domain, "layer": layer}
                common |= {"value": "", "speakers": 24, "reason": "", "n": 288, "folds": folds}
                for control, difference, p in (
                    ("zero_shot", -0.12, 0.0004),
                    ("statement_held_out", -0.01, 0.4),
                    ("sex", None, None),
                ):
                    chance = 0.5 if control == "sex" else 1 / len(emotions)
                    score = {"metric": "UA", "chance": chance, "p_value": None, **figure(0.4, 0.05)}
                    rows.append({**common, "control": control, **score})
                    if difference is not None:
                        gap = {"metric": "UA_difference", "chance": None, "p_value": p}
                        gap |= figure(difference, 0.03)
                        rows.append({**common, "control": control, **gap})
    return rows


def _confusions(draw, *, encoders, emotions) -> list[dict]:
    rows = []
    keys = [
        {
            "study": "layers",
            "encoder": e,
            "origin": o,
            "domain": d,
            "layer": 2,
            "method": None,
            "direction": None,
        }
        | {"regime": None}
        for e, (o, _) in encoders.items()
        for d in DOMAINS
    ]
    keys += [
        {
            "study": "transfer",
            "encoder": e,
            "origin": o,
            "domain": t.split(">")[1],
            "layer": None,
            "method": "lora",
        }
        | {"direction": t, "regime": g}
        for e, (o, _) in encoders.items()
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
                common |= {"trainable_parameters": size, "share": 1.0, "unit": "speaker"}
                common |= {"speakers": 4 * folds, "seed_spread": None, "baseline": None}
                common |= {"p_value": None, "reason": "" if folds > 1 else NO_INTERVAL}
                base = draw.uniform(0.35, 0.5)
                gains = {"target_only": 0.0, "two_stage": draw.gauss(0.015, 0.02)}
                gains |= {"joint": draw.gauss(0.0, 0.02)} if method == "lora" else {}
                for regime, gain in gains.items():
                    scores = _transfer_scores(draw, figure, base + gain, emotions)
                    if regime != "target_only":
                        scores.append(
                            {"metric": "UA_gain", "emotion": "all", **figure(gain, 0.018)}
                            | {"baseline": "target_only", "p_value": 0.04 if folds > 1 else None}
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
        {"encoder": e, "origin": o, "method": "weighted_sum", "direction": t, "regime": g}
        | {"domain": t.split(">")[1], "layer": layer}
        | figure(draw.uniform(0.5, 1.5) / (depth + 1), 0.1 / (depth + 1))
        for e, (o, depth) in encoders.items()
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
        "speakers_a": 12,
        "speakers_b": 12,
        "d": 64,
        "small_sample": False,
        "level": "frame",
    }
    unknown = ("standard_error", "p_value", "fit_error", "variance_kept")
    sizes |= dict.fromkeys((*unknown, "rank_a", "rank_b"))
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
                    }
                    small = (
                        {"n_a": 100, "small_sample": True} if e == "neutral" and layer == 0 else {}
                    )
                    rows.append({**row, **figure(mean, 0.08 * mean), **small})
    return rows


VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
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


def drawn(results: dict, tmp_path) -> tuple[str, Page]:
    html = write_report(results, tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    page.close()
    return html, page
