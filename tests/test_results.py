"""results.json against its schema: what is written, what is read, what is refused and in which words."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from jaxemo.cli.main import main
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.peft import METHODS
from jaxemo.report import rows
from jaxemo.results.checks import fields_of, plain, results_from
from jaxemo.results.contents import SCHEMA_VERSION, SECTIONS
from jaxemo.results.describe import json_schema
from jaxemo.results.file import read_results, write_results
from jaxemo.results.schema import FigureRow, LayerRow
from jaxemo.results.transfer_rows import TransferRow
from jaxemo.studies.study_settings import REGIMES

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("results")

ROOT = Path(__file__).resolve().parent.parent
ROW = {
    "encoder": "one",
    "origin": "untrained",
    "domain": "speech",
    "layer": 0,
    "metric": "UA",
    "emotion": "all",
    "mean": 0.5,
    "low": 0.4,
    "high": None,
    "n": 10,
    "folds": 2,
    "seeds": 1,
    "speakers": 4,
    "reason": "",
    "seed_spread": None,
    "num_layers": 3,
    "chance": 0.25,
    "converged": 0.5,
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """results.json of a small real run."""
    workdir = tmp_path_factory.mktemp("probed")
    config = f"--config={Path(__file__).parent / 'tiny_config.py'}"
    cache = f"--config.cache_dir={workdir / 'cache'}"
    one = "--config.encoders=('acoustic',)"
    assert main(["probe", config, cache, one, f"--workdir={workdir}"]) == 0
    return workdir / "results.json"


def refusal(contents) -> str:
    with pytest.raises(ValueError) as error:
        results_from(contents)
    return str(error.value)


def test_documents_are_what_the_tool_writes():
    path = ROOT / "tools" / "write_results_schema.py"
    spec = importlib.util.spec_from_file_location("write_results_schema", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, text in tool.documents().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, name


def test_a_real_file_fits_the_json_schema(probed):
    jsonschema.validate(json.loads(probed.read_text()), json_schema())


def test_the_json_schema_refuses_what_the_reader_refuses():
    for change in ({"mean": "x"}, {"layer": 0.5}, {"other": 1}):
        contents = {"schema_version": 1, "provenance": {}, "layers": [{**ROW, **change}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(contents, json_schema())


def test_a_real_file_is_read_back_as_it_was_written(probed):
    contents = json.loads(probed.read_text())
    results = read_results(probed)
    assert isinstance(results.layers[0], LayerRow)
    again = plain(results)
    assert {name: again[name] for name in SECTIONS if name in contents} == {
        name: contents[name] for name in SECTIONS if name in contents
    }


def test_layer_rows_say_how_many_probes_converged(probed):
    shares = {row.converged for row in read_results(probed).layers}
    assert shares
    assert all(0 <= share <= 1 for share in shares)


def test_every_column_of_every_row_has_a_meaning_and_numbers_a_range_or_unit():
    for kind in SECTIONS.values():
        for name, field in fields_of(kind).items():
            assert field.column is not None, (kind, name)
            assert field.column.meaning.endswith("."), (kind, name)


def test_each_fault_is_named_by_section_and_column():
    rows = [{**ROW, "mean": float("nan")}, {**ROW, "layer": "two"}, {**ROW, "colour": 1}]
    rows.append({name: value for name, value in ROW.items() if name != "chance"})
    said = refusal({"layers": rows, "corpus": 3, "music": []})
    for fault in (
        "layers has NaN or infinity in mean",
        "layers has 'two' in layer, expected a whole number",
        "layers has an unknown column colour",
        "layers lacks chance",
        "the file has 3 in corpus, expected a list",
        "the file has an unknown column music",
    ):
        assert fault in said
    assert "run the study again" in said


def test_true_is_no_number_and_one_is_a_fraction():
    assert "expected a whole number" in refusal({"layers": [{**ROW, "n": True}]})
    assert results_from({"layers": [{**ROW, "mean": 1}]}).layers[0].mean == 1.0


def test_another_version_is_refused_with_its_writer(tmp_path):
    path = tmp_path / "results.json"
    provenance = {"versions": {"jaxemo": "9.1"}}
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "provenance": provenance}))
    with pytest.raises(ValueError, match=f"schema is version {SCHEMA_VERSION + 1}.*jaxemo 9.1"):
        read_results(path)


def test_files_from_before_the_schema_are_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"layers": []}))
    with pytest.raises(ValueError, match="run the study again"):
        read_results(path)


@pytest.mark.parametrize("text", ["", "[1]", "\udcff"])
def test_what_is_no_results_file_is_refused_by_name(text, tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"results\.json is no results\.json"):
        read_results(path)


def test_rows_are_written_with_their_version_and_numpy_numbers_as_numbers(tmp_path):
    path = tmp_path / "results.json"
    row = LayerRow(**{**ROW, "mean": float(np.float64(0.1))})
    write_results({"layers": [row], "seen_clips_not_scored": np.int64(3)}, path)
    contents = json.loads(path.read_text())
    assert contents["schema_version"] == SCHEMA_VERSION
    assert contents["layers"] == [{**ROW, "mean": 0.1}]
    assert contents["seen_clips_not_scored"] == 3


def test_figures_that_are_not_finite_are_never_written(tmp_path):
    path = tmp_path / "results.json"
    row = FigureRow(domain="speech", emotion="all", metric="UA", mean=float("inf"), n=3)
    with pytest.raises(ValueError, match="figures has NaN or infinity in mean"):
        write_results({"figures": [row]}, path)
    assert not path.exists()


def test_names_in_the_columns_are_those_that_the_package_gives():
    columns = fields_of(TransferRow)
    named = {name: columns[name].column.values for name in ("method", "regime", "domain")}
    assert set(named["method"]) == set(METHODS) == set(rows.METHODS)
    assert set(named["regime"]) == set(REGIMES.names) == set(rows.REGIMES)
    assert named["domain"] == DOMAINS
