"""The figure of gains over shares of the target's speakers, on fabricated results."""

import pytest
from fabricated_results import fabricated_results

from jaxemo.report.contents import content_of
from jaxemo.report.sections.transfer_shares import share_gains, share_recall_gains
from jaxemo.results.checks import results_from

SHARES = (0.125, 0.5, 1.0)


def with_shares():
    """The demo's results, its two-stage gains of LoRA at several shares: the less, the more."""
    results = fabricated_results()
    rows = []
    for row in results["transfer"]:
        if (row["method"], row["metric"], row["regime"]) != ("lora", "UA_gain", "two_stage"):
            rows.append(row)
            continue
        for share in SHARES:
            gain = 0.1 * (1 - share)
            interval = {"mean": gain, "low": gain - 0.03, "high": gain + 0.03}
            rows.append(row | interval | {"share": share})
            of_emotion = {"metric": "recall_gain", "emotion": "sad", "share": share}
            rows.append(row | interval | of_emotion)
    return results | {"transfer": rows}


@pytest.fixture(scope="module")
def content():
    return content_of(results_from(with_shares()))


def points_of(panel) -> dict[float, float]:
    """Gain by share, as the chart has them."""
    [layer] = [one for one in panel.spec["layer"] if one.get("name") == "point"]
    return {point["layer"]: point["mean"] for point in layer["data"]["values"]}


def test_gains_stand_over_the_shares_with_bands(content):
    figure = share_gains(content)
    assert {panel.heading.split(", ")[-1] for panel in figure.panels} == {"LoRA"}
    for panel in figure.panels:
        assert points_of(panel) == {12.5: pytest.approx(0.0875), 50.0: 0.05, 100.0: 0.0}
        names = [one.get("name") for one in panel.spec["layer"]]
        assert "band" in names and "reference_0" in names
        assert "12.5 % of the speakers: +8.8 [+5.8, +11.8] points" in panel.description


def test_recalls_have_a_panel_for_each_direction(content):
    figure = share_recall_gains(content)
    assert len(figure.panels) == 2 * len(share_gains(content).panels)
    assert [key.label for key in figure.legend] == ["sad", "no gain"]


def test_a_study_of_one_share_has_no_such_figure():
    content = content_of(results_from(fabricated_results()))
    assert share_gains(content).panels == []
    assert share_recall_gains(content).panels == []
