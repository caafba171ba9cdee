"""A report as a folder: joined runs, tables for other programs, figures on their own."""

import csv
import json
import re
import socket

import pytest
from fabricated_results import drawn, fabricated_results
from test_similarity_report import with_second_opinions, with_something_held_still

from jaxemo import figures
from jaxemo.analysis.intervals import holm
from jaxemo.report import write_report_folder
from jaxemo.report.boards import figure_board
from jaxemo.report.charts import spread
from jaxemo.report.contents import content_of
from jaxemo.report.joining import join_files
from jaxemo.report.sections.layers import layer_curves
from jaxemo.report.sections.transfer_claims import transfer_gain_table
from jaxemo.report.table import Cell, Table, csv_rows, latex, markdown
from jaxemo.results.file import write_csv, write_results

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("report_folder")

FORMATS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
SMALL = {"small": ("untrained", 2)}


def written(folder, name, results):
    """The path of the results under a folder of their own."""
    path = folder / name / "results.json"
    path.parent.mkdir()
    write_results(results, path)
    return path


def seeded(seed, **changed):
    """Fabricated results of one seed of one experiment."""
    results = fabricated_results(seed=seed, encoders=SMALL)
    results["provenance"]["config"] = {"seed": seed, "cache_dir": f"cache{seed}"}
    results["provenance"] |= changed
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of one run, and the paths that were said to be written."""
    place = tmp_path_factory.mktemp("folder")
    path = written(place, "run", seeded(0))
    return place / "report", write_report_folder([path], place / "report")


def test_a_folder_holds_the_page_every_table_thrice_and_every_figure_twice(folder):
    place, paths = folder
    assert paths[0] == place / "report.html"
    assert set(paths) == {path for path in place.rglob("*") if path.is_file()}
    tables = {path.stem for path in (place / "tables").glob("*.tex")}
    assert {"chosen_layers", "transfer", "corpus", "folds", "left_out"} <= tables
    for suffix in ("csv", "md"):
        found = {path.stem for path in (place / "tables").glob(f"*.{suffix}")}
        assert {name for name in found if not name.startswith("rows_")} == tables
    drawn_as = {path.name for path in (place / "figures").iterdir()}
    assert {"layer-curves.pdf", "layer-curves.svg", "confusions-layers.pdf"} <= drawn_as


def test_tables_for_programs_hold_numbers_and_ends_of_intervals(folder):
    place, _ = folder
    with (place / "tables" / "chosen_layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["UA, low"]) < float(rows[0]["UA"]) < float(rows[0]["UA, high"])
    with (place / "tables" / "rows_layers.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(seeded(0)["layers"])


def test_latex_tables_are_rectangular_with_booktabs_rules(folder):
    place, _ = folder
    for path in (place / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
        for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
            assert text.count(rule) == 1, path.name
        lines = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}, path.name


def test_special_characters_are_escaped_in_latex_and_markdown():
    hostile = "50% of_a#b $x^2$ {y} ~ \\input{z} <b>|*"
    table = Table("name", hostile, ["a & b"], [[hostile]], 1, 0)
    text = latex(table)
    assert r"50\% of\_a\#b \$x\textasciicircum{}2\$ \{y\} \textasciitilde{}" in text
    assert r"\textbackslash{}input\{z\}" in text
    assert r"a \& b" in text
    assert r"\<b\>\|\*" in markdown(table)


def test_cells_that_a_spreadsheet_would_run_are_disarmed(tmp_path):
    path = tmp_path / "cells.csv"
    names = ["=1+1", "+a", "-a", "@a", "-1.5", "a\x1b[31m", "plain"]
    write_csv([{"=name": name, "value": -0.5} for name in names], path)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == [
        "'=name",
        "'=1+1",
        "'+a",
        "'-a",
        "'@a",
        "-1.5",
        "a\\x1b[31m",
        "plain",
    ]
    assert {row[1] for row in rows[1:]} == {"-0.5"}


def test_figures_without_numbers_are_empty_cells_of_a_csv():
    cells = [[Cell("54.2 [50.1, 58.3]", 0.542, 0.501, 0.583)], [Cell("\u2013")]]
    rows = csv_rows(Table("name", "caption", ["UA [95 %]"], cells, 0, 1))
    assert rows == [
        {"UA": 0.542, "UA, low": 0.501, "UA, high": 0.583},
        {"UA": None, "UA, low": None, "UA, high": None},
    ]


# Several runs --------------------------------------------------------------------------------


def test_runs_of_two_seeds_are_named_by_their_seeds_and_never_mixed(tmp_path):
    paths = [written(tmp_path, f"run{seed}", seeded(seed)) for seed in (1, 2)]
    joined = join_files(paths)
    assert [run.label for run in joined.runs] == ["seed 1", "seed 2"]
    names = {row.encoder for row in joined.results.layers}
    assert {"small [seed 1]", "small [seed 2]"} <= names
    assert not {"small"} & names
    assert len(joined.results.layers) == 2 * len(seeded(1)["layers"])


def test_runs_of_different_encoders_keep_their_names(tmp_path):
    one, other = (fabricated_results(encoders={name: ("local", 1)}) for name in ("a", "b"))
    for results in (one, other):
        results["layers"] = [row for row in results["layers"] if row["origin"] != "hand-made"]
    other["provenance"]["device"] = "gpu x 1"
    paths = [written(tmp_path, "one", one), written(tmp_path, "other", other)]
    joined = join_files(paths).results
    assert list(dict.fromkeys(row.encoder for row in joined.layers)) == ["a", "b"]
    assert len(joined.corpus) == len(one["corpus"])


def test_runs_that_differ_in_nothing_but_their_machine_are_named_by_it(tmp_path):
    first = seeded(0, device="1 x cpu (cpu)")
    second = seeded(0, device="1 x H100 (gpu)")
    paths = [written(tmp_path, "a", first), written(tmp_path, "b", second)]
    assert [run.label for run in join_files(paths).runs] == ["1 x cpu (cpu)", "1 x H100 (gpu)"]


def test_the_same_run_twice_is_refused_by_both_names(tmp_path):
    paths = [written(tmp_path, name, seeded(0)) for name in ("a", "b")]
    with pytest.raises(ValueError, match="hold the same run") as error:
        join_files(paths)
    for path in paths:
        assert str(path) in str(error.value)


def test_a_file_of_another_schema_is_refused_by_name(tmp_path):
    path = written(tmp_path, "old", seeded(0))
    contents = json.loads(path.read_text())
    path.write_text(json.dumps({**contents, "schema_version": 0}))
    with pytest.raises(ValueError, match=r"old.*run the study again"):
        write_report_folder([path], tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_comparison_has_one_page_with_the_provenance_of_every_run(tmp_path):
    paths = [written(tmp_path, f"run{seed}", seeded(seed)) for seed in (1, 2)]
    page = write_report_folder(paths, tmp_path / "both")[0].read_text(encoding="utf-8")
    for label in ("seed 1", "seed 2"):
        assert f">{label}<" in page
        assert f"small [{label}] (untrained)" in page
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


# Figures on their own ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", figures.__all__)
def test_each_figure_is_saved_without_a_network(name, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    chart = getattr(figures, name)(with_something_held_still(with_second_opinions()))
    # Rasters and PDFs are made from the SVG; one figure shows that they are.
    formats = FORMATS if name == "layer_curves" else {"svg": FORMATS["svg"]}
    for suffix, start in formats.items():
        path = tmp_path / f"figure.{suffix}"
        chart.save(str(path))
        assert path.read_bytes().startswith(start)


def test_figures_take_paths_objects_and_typed_results(tmp_path):
    results = seeded(0)
    path = written(tmp_path, "run", results)
    ways = [path, str(path), results, content_of(results).results]
    charts = [figures.layer_curves(way).to_dict() for way in ways]
    assert all(chart == charts[0] for chart in charts)


def test_a_figure_says_which_command_writes_what_it_lacks():
    with pytest.raises(ValueError, match="`jaxemo fad` writes it"):
        figures.emotion_shift({"layers": seeded(0)["layers"]})
    with pytest.raises(ValueError, match="expected 'layers' or 'transfer'"):
        figures.confusions(seeded(0), study="similarity")


def test_a_row_of_no_panels_is_refused():
    with pytest.raises(ValueError, match="columns is 0"):
        figure_board(layer_curves(content_of(seeded(0))), columns=0)


def test_names_of_lines_keep_their_order_and_their_distance():
    heights = spread([50.0, 51.0, 10.0, 52.0], gap=12.0)
    assert heights == pytest.approx([39.0, 51.0, 10.0, 63.0])
    assert spread([0.0, 40.0], gap=12.0) == [0.0, 40.0]


# Words ------------------------------------------------------------------------------------------


def test_holm_multiplies_the_smallest_most_and_never_reverses_an_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def text_of(results, tmp_path) -> str:
    return " ".join("".join(drawn(results, tmp_path)[1].text).split())


def gains_of(results):
    return [row for row in results["transfer"] if row["metric"] == "UA_gain"]


def test_equal_gains_have_reason_and_claim_nothing(tmp_path):
    results = {"transfer": seeded(0)["transfer"]}
    for row in gains_of(results):
        row |= {"mean": 0.083, "low": None, "high": None, "p_value": None}
        row |= {"reason": "no spread between 24 speakers"}
    text = text_of(results, tmp_path)
    assert "+8.3 (no spread between 24 speakers)" in text
    assert "[+8.3, +8.3]" not in text
    assert "without an interval it shows nothing by itself" in text
    assert "they claim nothing" in text


def test_below_six_folds_no_verdict_is_given(tmp_path):
    results = {"transfer": fabricated_results(encoders=SMALL, folds=3)["transfer"]}
    for row in gains_of(results):
        row |= {"mean": 0.2, "low": 0.1, "high": 0.3, "p_value": 1e-9}
    text = text_of(results, tmp_path)
    assert "no verdict: 3 folds cannot tell a gain from chance" in text
    assert "3 folds allow no verdict" in text
    assert "above 0 after Holm" not in text


def with_controls(over):
    """Two-stage LoRA from music, its gain over each control; no other gain is of note."""
    results = {"transfer": seeded(0)["transfer"]}
    for row in gains_of(results):
        row |= {"mean": 0.001, "low": -0.01, "high": 0.012, "p_value": 0.9}
    [chosen] = [
        row
        for row in gains_of(results)
        if (row["direction"], row["method"], row["regime"])
        == ("music->speech", "lora", "two_stage")
    ]
    results["transfer"].remove(chosen)
    strong = {"mean": 0.1, "low": 0.06, "high": 0.14, "p_value": 1e-5}
    weak = {"mean": 0.01, "low": -0.03, "high": 0.05, "p_value": 0.6}
    for baseline in ("target_only", "target_only_longer", "placebo"):
        row = chosen | {"baseline": baseline} | (strong if baseline in over else weak)
        results["transfer"].append(row)
    return results


def test_a_gain_over_all_controls_helps(tmp_path):
    text = text_of(with_controls({"target_only", "target_only_longer", "placebo"}), tmp_path)
    assert "in 1 of 1 cases (small (untrained), LoRA, music → speech, two-stage)" in text
    assert "above 0 after Holm's correction: 3; below: 0" in text


@pytest.mark.parametrize("lacking", ["target_only", "target_only_longer", "placebo"])
def test_a_gain_that_one_control_has_as_well_does_not_help(lacking, tmp_path):
    over = {"target_only", "target_only_longer", "placebo"} - {lacking}
    assert "not shown in any of 1 cases" in text_of(with_controls(over), tmp_path)


def test_without_controls_no_verdict_is_given(tmp_path):
    text = text_of({"transfer": seeded(0)["transfer"]}, tmp_path)
    assert "no verdict: it needs two-stage or joint training beside target_only" in text


def test_the_power_stands_before_the_gains(tmp_path):
    text = text_of({"transfer": seeded(0)["transfer"]}, tmp_path)
    assert "with 24 speakers, a gain of 2.5 points of UA" in text
    assert text.index("is found at 5 % in 80 %") < text.index("points of UA (")


def test_the_table_of_gains_has_p_and_p_corrected_for_the_table():
    table = transfer_gain_table(content_of({"transfer": seeded(0)["transfer"]}))
    p_values = [row[table.columns.index("p")].mean for row in table.rows]
    corrected = [row[table.columns.index("p, Holm")].mean for row in table.rows]
    assert corrected == pytest.approx(holm(p_values))
    assert len(table.rows) == len(gains_of(seeded(0)))


def test_the_epoch_of_every_run_is_in_the_page(tmp_path):
    run = {"encoder": "small", "origin": "untrained", "method": "lora", "domain": "speech"}
    run |= {"regime": "two_stage", "share": 1.0, "seed": 0, "updates": 700, "dev_score": 0.5}
    epochs = {"epochs": 20}
    results = {"transfer": seeded(0)["transfer"]}
    results["transfer_runs"] = [
        run | epochs | {"fold": 1, "chosen_epoch": 17},
        run | epochs | {"fold": 0, "chosen_epoch": 3},
    ]
    assert "3/20 17/20" in text_of(results, tmp_path)


def test_distances_alone_place_no_emotion_nearest(tmp_path):
    text = text_of({"similarity": seeded(0)["similarity"]}, tmp_path)
    assert "nearest" not in text and "farthest" not in text


def test_probes_that_did_not_converge_are_marked_and_counted(tmp_path):
    results = {"layers": seeded(0)["layers"]}
    first = results["layers"][0]
    first["converged"] = 0.5
    text = text_of(results, tmp_path)
    assert "1 of 8 scores rest on probes that ran out of steps" in text
    assert "‡ not all probes behind it converged" in text
