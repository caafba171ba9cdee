"""What the page says of emotion shift and of second opinions, on fabricated rows."""

import itertools
import random
import re

import pytest
from altair.utils import schemapi
from fabricated_results import EMOTIONS, ENCODERS, drawn, fabricated_results
from test_report import charts_of, spots_of

from jaxemo.report import rows as r
from jaxemo.report import summary_table
from jaxemo.report.agreement import agreements
from jaxemo.report.contents import content_of
from jaxemo.report.sections.distance_sentences import sentences
from jaxemo.report.sections.shift import emotion_shift, shift_controls

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("similarity_report")

METRICS = ("FAD_equal_n", "FAD_infinite_speakers", "FAD_clip", "KAD")


def with_second_opinions(*, seed=0) -> dict:
    """Fabricated results whose every FAD row has its second opinions, and emotion shift."""
    draw = random.Random(seed)
    results = fabricated_results(seed=seed)
    first = list(results["similarity"])
    extra = {"standard_error": 0.4, "fit_error": 0.3, "variance_kept": 0.87}
    for row in first:
        for metric in METRICS:
            mean = row["mean"] * draw.uniform(0.9, 1.1)
            known = {"mean": mean, "low": mean - 0.9, "high": mean + 0.9, "p_value": 0.004}
            results["similarity"].append({**row, **extra, **known, "metric": metric})
    for rows in (shifts(), sharing()):
        for section, of_section in rows.items():
            results.setdefault(section, []).extend(of_section)
    return results


def with_something_held_still(results: dict) -> dict:
    """The same, and the second encoder's shift with something held still: cues make its difference."""
    for section in ("emotion_shifts", "emotion_shift_tests"):
        for row in list(results[section]):
            if (row["encoder"], row["measure"], row["layer"]) == ("music-small", "shift", None):
                for control in ("matched", "matched_female", "matched_male"):
                    results[section].append({**row, "control": control})
                known = {"p_value": 0.2} if "p_value" in row else {}
                results[section].append({**row, "control": "cues_removed", **known})
    return results


def shifts() -> dict:
    """Rows of shift and shape: of the second encoder's shift alone is a difference found."""
    found: dict = {"emotion_shifts": [], "emotion_contrasts": [], "emotion_shift_tests": []}
    size = {"statistic": 0.1, "emotions": 6, "permutations": 999, "speakers": 12}
    for place, (encoder, measure) in enumerate(itertools.product(ENCODERS, ("shift", "shape"))):
        for layer in (*range(5), None):
            common = {"encoder": encoder, "origin": "untrained", "layer": layer}
            common |= {"measure": measure, "speakers": 12, "control": "none"}
            space = {"d": None if layer is None else 64, "variance_kept": 0.9 if layer else None}
            for index, emotion in enumerate(EMOTIONS):
                mean = 0.2 * index - 0.31 + 0.01 * place
                row = {"mean": mean, "low": mean - 0.2, "high": mean + 0.2, "paired": True}
                found["emotion_shifts"].append({**common, **space, "emotion": emotion, **row})
            for a, b in itertools.combinations(range(6), 2):
                p_value = 0.001 if b - a > 3 else 0.2
                row = {"mean": 0.2 * (a - b), "low": 0.2 * (a - b) - 0.5, "high": 0.4}
                row |= {"emotion": EMOTIONS[a], "other_emotion": EMOTIONS[b]}
                row |= {"p_value": p_value, "p_holm": min(1.0, 15 * p_value)}
                found["emotion_contrasts"].append({**common, **row})
            test = {"test": "emotions_differ", "other_encoder": None, "tau": None, **size}
            p_value = 0.0004 if place == 2 else 0.41
            found["emotion_shift_tests"].append({**common, **test, "p_value": p_value})
    pair = dict(zip(("encoder", "other_encoder"), ENCODERS, strict=True)) | {"measure": "shift"}
    pair |= {
        "control": "none",
        "test": "encoders_differ",
        "layer": None,
        "p_value": 0.013,
        "tau": -0.2,
        **size,
    }
    found["emotion_shift_tests"].append({**pair, "origin": "untrained"})
    return found


def sharing() -> dict:
    """Rows of the advantage, which is found in the second encoder alone, and of the cross-emotion matrix."""
    found: dict = {"emotion_shifts": [], "cross_emotion": [], "emotion_shift_tests": []}
    size = {"statistic": 0.1, "emotions": 6, "permutations": 999, "speakers": 12}
    for place, encoder in enumerate(ENCODERS):
        for layer in (*range(5), None):
            common = {"encoder": encoder, "origin": "untrained", "layer": layer}
            control = {"control": "none"}
            row = {
                **control,
                "measure": "advantage",
                "mean": 0.5,
                "low": 0.1,
                "high": 0.9,
                "speakers": 12,
            }
            row |= {"d": None if layer is None else 64, "variance_kept": None, "paired": True}
            found["emotion_shifts"] += [{**common, **row, "emotion": e} for e in (*EMOTIONS, "all")]
            test = {
                **control,
                "test": "diagonal_nearer",
                "measure": "advantage",
                "other_encoder": None,
            }
            test |= {"tau": None, "p_value": 0.3 - 0.299 * place, **size}
            found["emotion_shift_tests"].append({**common, **test})
            if layer in (0, 1):
                found["cross_emotion"] += [
                    {
                        **common,
                        "emotion": a,
                        "other_emotion": b,
                        "mean": m,
                        "low": m - 1,
                        "high": m + 1,
                    }
                    for a, b in itertools.product(EMOTIONS, EMOTIONS)
                    for m in [1.7 + (a != b) * 0.37 * (1 + layer)]
                ]
    return found


def kernel_and_infinity(results, layer):
    return [
        row
        for row in results["similarity"]
        if row["comparison"] == "cross_domain"
        and row["metric"] in ("KAD", "FAD_infinite_speakers")
        and (row["encoder"], row["layer"]) == ("speech-small", layer)
    ]


def test_every_second_opinion_and_every_shift_is_on_the_page(tmp_path):
    results = with_second_opinions()
    html, page = drawn(results, tmp_path)
    assert not page.wrong and not page.open
    cells = set(re.findall(r">([^<>]+)<", html))
    for row in [*(*results["similarity"], *results["emotion_shifts"], *results["cross_emotion"])]:
        text = r.with_interval(row, r.distance)
        assert text in cells or f"{text}†" in cells, row
    for row in results["emotion_shift_tests"]:
        assert r.probability(row["p_value"]) in cells
    for row in results["emotion_contrasts"]:
        if row["layer"] is None:
            assert {r.with_interval(row, r.distance), r.probability(row["p_holm"])} <= cells


@pytest.mark.slow
def test_charts_of_second_opinions_stay_inside_their_frame_below_zero(tmp_path):
    results = with_second_opinions()
    for row in results["similarity"]:
        if row["metric"] in ("FAD_infinite_speakers", "KAD"):
            row |= {"mean": row["mean"] - 6, "low": row["low"] - 8, "high": row["high"] - 4}
    html, _ = drawn(results, tmp_path)
    charts = charts_of(html)
    assert len(charts) > 8
    for chart in charts:
        left, _, width, _ = map(float, chart.get("viewBox").split())
        assert all(left - 1 <= x <= left + width + 1 for x, _ in spots_of(chart))


def test_order_of_emotions_is_compared_pair_by_pair_with_its_error():
    results = with_second_opinions()
    for row in kernel_and_infinity(results, 2):
        place = EMOTIONS.index(row["emotion"])
        swapped = {0: 5, 5: 0}.get(place, place) if row["metric"] == "KAD" else place
        row |= {"mean": 10.0 * swapped, "standard_error": 6.0}
    rows = content_of(results).rows("similarity")
    found = [a for a in agreements(rows) if a.encoder == "speech-small"]
    two = found[2]
    assert (two.layer, two.num_pairs, len(two.swapped)) == (2, 15, 9)
    assert two.tau == (6 - 9) / 15
    # sqrt(6^2 + 6^2) is 8.5: pairs less than 17 apart are not clear of it.
    assert "neutral < fearful" in two.clear and "neutral < calm" not in two.clear


def pair_of(results) -> dict:
    [row] = [row for row in results["emotion_shift_tests"] if row["other_encoder"]]
    return row


def said(results) -> str:
    return " ".join(f"{one.about}: {one.says}" for one in sentences(content_of(results)))


def test_the_findings_say_where_distances_disagree_and_whether_emotions_differ():
    results = with_second_opinions()
    for layer in range(5):
        for row in kernel_and_infinity(results, layer):
            sign = -1 if row["metric"] == "KAD" and layer == 3 else 1
            row |= {"mean": float(sign * EMOTIONS.index(row["emotion"])), "standard_error": 0.1}
    text = said(results)
    assert f"lowest Kendall's tau {r.MINUS}1.00, speech-small (untrained), layer 3" in text
    assert "neutral < calm (speech-small (untrained), layer 3)" in text
    differing = "emotions differ in how far music of an emotion lies from speech of it (p = 0.0004"
    assert text.count("emotions differ in") == 1 and f"{differing}, 0.003 after Holm's" in text
    assert f"neutral least, {r.MINUS}0.290 [{r.MINUS}0.490, {r.MINUS}0.0900], told from 2" in text
    assert "fearful most, 0.710 [0.510, 0.910], told from 2 of 5 others" in text
    assert text.count("no difference between emotions is shown") == 3
    assert "0 of 1 pairs differ in which emotions" in text
    shared = "music of an emotion lies nearer to speech of"
    assert f"Shared emotion, music-small (untrained): {shared} it" in text
    assert f"Shared emotion, speech-small (untrained): no sign that {shared} the same" in text


def test_no_emotion_is_named_where_no_corrected_p_is_small():
    results = with_second_opinions()
    for row in results["emotion_shift_tests"]:
        row["p_value"] = 0.02
    for row in results["similarity"]:
        row["standard_error"] = 100.0
    text = said(results)
    # Seven tests of one family: each is below 0.05 alone, and none after the correction.
    assert text.count("no difference between emotions is shown") == 4
    assert text.count("no sign that music") == 2 and "0 of 1 pairs differ" in text
    assert "no pair of emotions swaps beyond its error" in text
    assert not re.search(r"\b(least|most|nearest|farthest|told from \d)\b", text)


def test_an_advantage_whose_interval_holds_nothing_is_no_sign():
    results = with_second_opinions()
    for row in results["emotion_shifts"]:
        row["low"] = -0.1 if row["measure"] == "advantage" else row["low"]
    assert said(results).count("no sign that music") == 2


def test_encoders_that_differ_are_named_with_what_is_reversed():
    results = with_second_opinions()
    pair_of(results)["p_value"] = 0.0002
    text = said(results)
    assert "1 of 1 pairs differ in which emotions" in text
    assert "in spacing: no order of two emotions is reversed beyond its error" in text
    for row in results["emotion_contrasts"]:
        if row["encoder"] == "music-small":
            row["mean"] = -row["mean"]
    assert "reversed beyond their errors: neutral and angry, neutral and fearful" in said(results)


def test_a_difference_is_said_to_remain_or_not_with_something_held_still():
    results = with_something_held_still(with_second_opinions())
    text = said(results)
    assert "With matched pairs: they still differ (p = 0.0004" in text
    assert "with cues regressed out: no difference is shown (p = 0.200" in text
    [table] = shift_controls(content_of(results)).tables
    assert [str(line[0]) for line in table.rows] == list(r.CONTROLS.values())


def test_other_speakers_in_the_other_domain_are_said_to_be_so():
    results = with_second_opinions()
    words = "cannot be told from each other"
    assert words not in said(results)
    for row in results["emotion_shifts"]:
        row["paired"] = False
    assert words in said(results)
    with schemapi.debug_mode(False):
        assert words in emotion_shift(content_of(results)).caption


def test_the_terminal_says_which_emotion_shifts_least():
    table = summary_table(with_second_opinions())
    assert re.search(r"neutral +-0\.290 \[-0\.490, -0\.0900\] +2 of 5", table)


@pytest.mark.slow
def test_results_of_undefined_shift_are_drawn(tmp_path):
    results = with_second_opinions()
    results["emotion_contrasts"] = []
    for row in results["emotion_shifts"]:
        row |= {"mean": None, "low": None, "high": None}
    for row in results["emotion_shift_tests"]:
        row |= {"p_value": None, "tau": None}
    html, page = drawn(results, tmp_path)
    assert not page.wrong and not re.search(r"\b(nan|inf|None)\b", html)
