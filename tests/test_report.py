"""The report page and the short tables, on fabricated results made from a seed (no study is run)."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from fabricated_results import EMOTIONS, Page, drawn, fabricated_results

from jaxemo.report import rows as r
from jaxemo.report import summary_table, theme, write_report
from jaxemo.report.contents import content_of
from jaxemo.report.page import TEMPLATES
from jaxemo.report.table import markdown
from jaxemo.report.tables import headlines

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("report")

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


# The big page takes half a minute to draw.
EACH = [pytest.param(name, marks=[pytest.mark.slow] if name == "big" else []) for name in CASES]


class Pages(dict[str, tuple[str, Page]]):
    """Each case drawn once, when it is asked for."""

    def __init__(self, folder):
        self.folder = folder

    def __missing__(self, name):
        (self.folder / name).mkdir()
        self[name] = drawn(CASES[name], self.folder / name)
        return self[name]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Pages:
    return Pages(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("case", EACH)
def test_the_page_is_well_formed_and_loads_nothing(case, pages):
    html, page = pages[case]
    assert not page.wrong and not page.open
    assert not page.of("script", "link", "iframe", "img", "object", "base")
    assert not re.search(r"https?:|url\(|@import|javascript:|\son\w+=", html)
    links = [a["href"] for a in page.of("a")]
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert all(link[0] == "#" and link[1:] in targets for link in links)


@pytest.mark.parametrize("case", EACH)
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


@pytest.mark.parametrize("case", [case for case in EACH if "empty" not in case.values])
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
    assert "<script>" not in headlines_in_markdown(results).replace("\\<", "")


def test_names_that_no_encoding_or_eye_can_take_become_visible_escapes(tmp_path):
    results = {"left_out": [{"path": "a\udcff\x00b\u202egpj.wav\n", "reason": "corrupt"}]}
    _, page = drawn(results, tmp_path)
    assert r"a\udcff\x00b\u202egpj.wav\n" in "".join(page.text)


SECTIONS = {
    "layers": {"layers"},
    "controls": {"controls"},
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


@pytest.mark.slow
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


def test_one_fold_draws_reason_and_claims_none(tmp_path):
    results = fabricated_results(folds=1)
    html, page = drawn(results, tmp_path)
    text = " ".join(page.text)
    assert "one fold, so scores carry no interval" in text
    assert "without an interval it shows nothing by itself" in text
    assert "excludes 0;" not in text and "interval excludes 0." not in text
    assert not re.search(r'class="(band|whisker)"', html)


def test_findings_name_the_chosen_layer_and_the_largest_gain(tmp_path):
    results = fabricated_results()
    gains = [row for row in results["transfer"] if row["metric"] == "UA_gain"]
    gains[3] |= {"mean": 0.2, "low": -0.01, "high": 0.41}
    text = " ".join("".join(drawn(results, tmp_path)[1].text).split())
    assert (
        "speech UA 52.0 [48.0, 56.0] % (chance 16.7 %) at the layer that dev speakers choose"
        in text
    )
    assert "2 (67 % of runs), 1; layer 0 lower, 4 of 5 other layers cannot be told from it" in text
    assert f"+20.0 [{r.MINUS}1.0, +41.0] points of UA" in text
    assert "after Holm's correction, so that it does not show a gain" in text


def test_a_control_is_said_to_cost_the_emotion_where_the_corrected_p_tells(tmp_path):
    given = {name: fabricated_results()[name] for name in ("layers", "layer_choices", "controls")}
    text = " ".join("".join(drawn(given, tmp_path)[1].text).split())
    assert (
        "speech, zero-shot from the other domain: "
        f"{r.MINUS}12.0 [{r.MINUS}15.0, {r.MINUS}9.0] points (layer 2)" in text
    )
    assert f"emotion, new sentences: {r.MINUS}" not in text


def test_unknown_figures_are_left_out_of_charts_and_shown_as_unknown(tmp_path):
    results = fabricated_results()
    for section in ("layers", "transfer", "layer_weights", "similarity"):
        for row in results[section]:
            row |= {"mean": None, "low": None, "high": None}
    html, page = drawn(results, tmp_path)
    assert not page.wrong and f">{r.UNKNOWN}<" in html
    assert not re.search(r"\b(nan|inf|None)\b", html)


@pytest.mark.slow
def test_scores_at_the_ends_of_the_scale_stay_inside_their_chart(tmp_path):
    results = fabricated_results()
    for i, row in enumerate(results["layers"] + results["transfer"]):
        row |= {"mean": float(i % 2), "low": i % 2 - 0.2, "high": i % 2 + 0.2}
    for i, row in enumerate(results["similarity"]):
        row |= {"mean": (0.0, 1e-9, 1e9)[i % 3], "low": None, "high": None}
    html, page = drawn(results, tmp_path)
    charts = charts_of(html)
    assert charts and not page.wrong
    for chart in charts:
        left, top, width, height = map(float, chart.get("viewBox").split())
        for x, y in spots_of(chart):
            assert left - 1 <= x <= left + width + 1
            assert top - 1 <= y <= top + height + 1


@pytest.mark.slow
def test_all_cells_and_column_names_fit_the_width_of_a_matrix(pages):
    html, _ = pages["big"]
    widths = []
    for chart in charts_of(html):
        left, _, width, _ = map(float, chart.get("viewBox").split())
        for cell in chart.iterfind(".//*[@class='cell']/path"):
            ends = [x for x, _ in spots_of(cell)]
            widths.append(max(ends) - min(ends))
        assert all(left <= x <= left + width for x, _ in spots_of(chart))
    assert min(widths) > 20


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
        levels = enumerate(zip(theme.ON_LEVELS, theme.LEVELS, strict=True))
        pairs = [(theme.VARIABLES[ink], f"q{level}") for level, (ink, _) in levels]
        pairs += [
            (ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "card")
        ]
        for text, ground in [*pairs, ("ink", "note")]:
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for line in ["speech", "music", *(f"emotion-{i}" for i in range(8))]:
            assert _contrast(colours[line], colours["paper"]) >= 3, line


@pytest.mark.slow
def test_each_class_that_the_charts_use_is_styled(pages):
    _, page = pages["big"]
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    used = {name for _, a in page.tags for name in a.get("class", "").split()}
    unstyled = {name for name in used if f".{name}" not in css and not name.startswith("of-")}
    assert unstyled <= {"panel", "band", "whisker", "cell", "name"}


def test_each_colour_of_the_charts_is_the_light_one_of_its_variable():
    light = _themes()[0]
    for colour, variable in theme.VARIABLES.items():
        # Texts on matrices differ in the last digit, so that each has a variable of its own.
        assert light[variable][:6] == colour[:6], variable


@pytest.mark.parametrize("case", [EACH[0], EACH[2]])
def test_charts_take_every_colour_from_the_themes(case, pages):
    html, _ = pages[case]
    painted = set(re.findall(r'(?:fill|stroke)="([^"]+)"', "".join(_svgs(html))))
    variables = {f"var(--{variable})" for variable in theme.VARIABLES.values()}
    assert painted <= variables | {"none"}


def test_summary_is_short_plain_ascii_and_markdown_tables_are_rectangular():
    results = fabricated_results()
    summary = summary_table(results)
    assert summary.isascii() and len(summary.splitlines()) < 40
    assert "music -> speech" in summary and "UA" in summary
    for block in headlines_in_markdown(results).split("\n\n")[1::2]:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert summary_table({}) == "The results hold no figures."
    assert not headlines(content_of({}))


def headlines_in_markdown(results):
    return "\n\n".join(markdown(table) for table in headlines(content_of(results)))


def _svgs(html: str) -> list[str]:
    return re.findall(r'<svg class="chart".*?</svg>', html, flags=re.DOTALL)


def charts_of(html: str) -> list[ElementTree.Element]:
    """The charts of a page, parsed as what they are: XML."""
    return [ElementTree.fromstring(svg) for svg in _svgs(html)]


def spots_of(element: ElementTree.Element, x: float = 0.0, y: float = 0.0):
    """Where marks and texts stand: starts, ends of lines and corners of paths, in a chart's units.

    Paths of markers are left out but for their middle, since only that is data.
    """
    shift = re.match(r"translate\((-?[\d.]+)(?:,(-?[\d.]+))?\)", element.get("transform", ""))
    if shift:
        x, y = x + float(shift[1]), y + float(shift[2] or 0)
    if element.tag == "text":
        yield x, y
    if element.tag == "line":
        yield x, y
        yield x + float(element.get("x2", 0)), y + float(element.get("y2", 0))
    if element.tag == "path" and shift:
        yield x, y
    elif element.tag == "path":
        yield from ((x + one, y + other) for one, other in corners(element.get("d")))
    for child in element:
        yield from spots_of(child, x, y)


def corners(path: str):
    """The corners of a path of straight lines (M, L, h, v)."""
    x = y = 0.0
    for letter, numbers in re.findall(r"([MLhv])([^A-Za-z]*)", path):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if letter in "ML":
            x, y = values
        elif letter == "h":
            x += values[0]
        else:
            y += values[0]
        yield x, y


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


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-0.0004, "+0.0"), (0.0, "+0.0"), (-0.2, f"{r.MINUS}20.0"), (None, "\N{EN DASH}")],
)
def test_a_difference_that_rounds_to_nothing_has_no_minus(value, shown):
    assert r.points(value) == shown
