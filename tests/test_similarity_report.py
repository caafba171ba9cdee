"""What the page says of second opinions and emotion bias, on fabricated rows."""

import random
import re

import pytest
from fabricated_results import EMOTIONS, ENCODERS, drawn, fabricated_results
from test_report import charts_of, spots_of

from jaxemo.report import rows as r
from jaxemo.report import summary_table
from jaxemo.report.agreement import agreements
from jaxemo.report.contents import content_of

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("similarity_report")

METRICS = ("FAD_equal_n", "FAD_infinity", "FAD_clip", "KAD")


def with_second_opinions(*, seed=0) -> dict:
    """Fabricated results whose every FAD row has its second opinions, and emotion bias."""
    draw = random.Random(seed)
    results = fabricated_results(seed=seed)
    first = [row for row in results["similarity"] if row["comparison"] != "cross_emotion"]
    extra = {"standard_error": 0.4, "fit_error": 0.3, "r_squared": 0.9, "variance_kept": 0.87}
    for row in first:
        for metric in METRICS:
            mean = row["mean"] * draw.uniform(0.9, 1.1)
            known = {"mean": mean, "low": mean - 0.9, "high": mean + 0.9, "p_value": 0.004}
            results["similarity"].append({**row, **extra, **known, "metric": metric})
    results["emotion_bias"], results["emotion_bias_tests"] = [], []
    size = {"statistic": 0.1, "emotions": 6, "permutations": 999}
    for place, encoder in enumerate(ENCODERS):
        for layer in (*range(5), None):
            common = {"encoder": encoder, "origin": "untrained", "layer": layer, "speakers": 12}
            for index, emotion in enumerate(EMOTIONS):
                mean = 0.2 * index - 0.31
                row = {"mean": mean, "low": mean - 0.2, "high": mean + 0.2, "rank": index + 1}
                results["emotion_bias"].append({**common, "emotion": emotion, **row})
            test = {"test": "emotions_differ", "other_encoder": None, "tau": None, **size}
            p_value = 0.0004 if place else 0.41
            results["emotion_bias_tests"].append({**common, **test, "p_value": p_value})
    pair = dict(zip(("encoder", "other_encoder"), ENCODERS, strict=True))
    pair |= {"test": "encoders_disagree", "layer": None, "p_value": 0.013, "tau": -0.2, **size}
    results["emotion_bias_tests"].append({**pair, "origin": "untrained", "speakers": 12})
    return results


def kernel_and_infinity(results, layer):
    return [
        row
        for row in results["similarity"]
        if row["comparison"] == "cross_domain"
        and row["metric"] in ("KAD", "FAD_infinity")
        and (row["encoder"], row["layer"]) == ("speech-small", layer)
    ]


def test_every_second_opinion_and_every_bias_is_on_the_page(tmp_path):
    results = with_second_opinions()
    html, page = drawn(results, tmp_path)
    assert not page.wrong and not page.open
    cells = set(re.findall(r">([^<>]+)<", html))
    for row in [*results["similarity"], *results["emotion_bias"]]:
        text = r.with_interval(row, r.distance)
        assert text in cells or f"{text}†" in cells, row
    for row in results["emotion_bias_tests"]:
        assert r.probability(row["p_value"]) in cells


@pytest.mark.slow
def test_charts_of_second_opinions_stay_inside_their_frame_below_zero(tmp_path):
    results = with_second_opinions()
    for row in results["similarity"]:
        if row["metric"] in ("FAD_infinity", "KAD"):
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


def test_the_findings_say_where_distances_disagree_and_whether_emotions_differ(tmp_path):
    results = with_second_opinions()
    for layer in range(5):
        for row in kernel_and_infinity(results, layer):
            sign = -1 if row["metric"] == "KAD" and layer == 3 else 1
            row |= {"mean": float(sign * EMOTIONS.index(row["emotion"])), "standard_error": 0.1}
    text = " ".join("".join(drawn(results, tmp_path)[1].text).split())
    assert f"lowest Kendall's tau {r.MINUS}1.00, speech-small (untrained), layer 3" in text
    assert "neutral < calm (speech-small (untrained), layer 3)" in text
    assert "no difference between emotions is shown (p = 0.410)" in text
    assert "the emotions differ (p = 0.0004)" in text and "neutral 0.73 times" in text
    assert f"(p = 0.013, tau {r.MINUS}0.20)" in text


def test_the_terminal_says_which_emotion_is_nearest_by_bias():
    assert re.search(r"neutral +0\.733 \[", summary_table(with_second_opinions()))


@pytest.mark.slow
def test_results_of_undefined_bias_are_drawn(tmp_path):
    results = with_second_opinions()
    for row in results["emotion_bias"]:
        row |= {"mean": None, "low": None, "high": None, "rank": None}
    for row in results["emotion_bias_tests"]:
        row |= {"p_value": None, "tau": None}
    html, page = drawn(results, tmp_path)
    assert not page.wrong and not re.search(r"\b(nan|inf|None)\b", html)
