"""What one run of `jaxemo study` leaves behind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxemo.cli.main import main

pytestmark = pytest.mark.xdist_group("cli")


def test_a_study_writes_results_and_report(study, results, capsys):
    assert set(results) >= {"layers", "transfer", "similarity", "provenance", "corpus", "folds"}
    page = (study / "report.html").read_text()
    assert "<svg" in page and "untrained" in page
    assert not (study / "results.partial.json").exists()


def test_layer_rows_cover_every_layer_domain_metric_and_emotion(results):
    rows = results["layers"]
    places = {(r["encoder"], r["layer"], r["domain"], r["metric"], r["emotion"]) for r in rows}
    assert len(places) == len(rows) == (1 + 1 + 4) * 2 * (3 + 6)
    for row in rows:
        if row["reason"]:
            assert row["low"] is row["high"] is None
        else:
            assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
        assert (row["n"], row["folds"], row["seeds"], row["speakers"]) == (72, 3, 2, 12)
    assert any(not row["reason"] for row in rows)


def test_transfer_rows_cover_methods_directions_and_regimes(results):
    rows = [row for row in results["transfer"] if row["metric"] == "UA"]
    found = {(r["encoder"], r["method"], r["direction"], r["regime"]) for r in rows}
    assert len(found) == len(rows) == (1 + 2) * 2 * 2
    assert {row["direction"] for row in rows} == {"music->speech", "speech->music"}


def test_gains_are_two_stage_minus_target_only(results):
    def ua(row, regime):
        keys = ("encoder", "method", "direction")
        [found] = [
            r["mean"]
            for r in results["transfer"]
            if r["metric"] == "UA" and r["regime"] == regime and all(r[k] == row[k] for k in keys)
        ]
        return found

    gains = [row for row in results["transfer"] if row["metric"] == "UA_gain"]
    assert len(gains) == 6
    for row in gains:
        assert row["mean"] == pytest.approx(ua(row, "two_stage") - ua(row, "target_only"))


def test_learnt_layer_weights_sum_to_one(results):
    totals = {}
    for row in results["layer_weights"]:
        key = tuple(row[k] for k in ("encoder", "method", "direction", "regime"))
        totals[key] = totals.get(key, 0) + row["mean"]
    assert len(totals) == 12
    np.testing.assert_allclose(list(totals.values()), 1, atol=1e-6)


def test_similarity_has_nulls_and_sizes(results):
    rows = results["similarity"]
    counts = {}
    for row in rows:
        kind = (row["metric"], row["comparison"])
        counts[kind] = counts.get(kind, 0) + 1
        assert row["d"] > 0 and row["n_a"] > 0 and row["clips_b"] > 0 and row["speakers_a"] > 0
        assert row["mean"] >= 0 or row["metric"] in ("FAD_infinite_speakers", "KAD")
        assert row["small_sample"] == (min(row["n_a"], row["n_b"]) < 2 * row["d"])
    per_layer = (1 + 4) * 6
    metrics = ("FAD", "FAD_clip", "FAD_equal_n", "FAD_infinite_speakers", "KAD")
    comparisons = ("cross_domain", "null_speech", "null_music")
    assert counts == {
        **{(metric, kind): per_layer for metric in metrics for kind in comparisons},
    }


def test_cross_domain_distances_carry_intervals_ranks_and_p_values(results):
    rows = [row for row in results["similarity"] if row["comparison"] == "cross_domain"]
    for row in rows:
        if row["metric"] in ("FAD", "KAD"):
            assert row["low"] <= row["mean"] <= row["high"] and row["standard_error"] > 0
        if row["metric"] == "FAD":
            assert 0 < row["rank_a"] <= row["d"] and 0.5 < row["variance_kept"] <= 1
        if row["metric"] == "KAD":
            assert 0 < row["p_value"] <= 1
        if row["metric"] == "FAD_equal_n":
            assert row["n_a"] == row["n_b"] == 6 * 8 and row["speakers_b"] == 12


def test_emotion_shift_is_given_for_every_layer_and_emotion_and_tested(results):
    sections = ("emotion_shifts", "emotion_contrasts", "emotion_shift_tests")
    rows, contrasts, tests = (
        [row for row in results[section] if row["control"] == "none"] for section in sections
    )
    places = {(row["encoder"], row["layer"], row["emotion"]) for row in rows}
    # One clip per cell: there is no shape. The advantage has its mean over emotions too.
    assert {row["measure"] for row in rows} == {"shift", "advantage"}
    assert len(rows) == (1 + 1 + 4 + 1) * (6 + 7) and len(places) == (1 + 1 + 4 + 1) * 7
    for row in rows:
        assert row["paired"] and row["speakers"] == 12
        assert row["low"] < row["mean"] < row["high"]
        assert (row["d"] is None) == (row["layer"] is None)
    assert len(contrasts) == (1 + 1 + 4 + 1) * 15
    assert all(row["p_holm"] >= row["p_value"] for row in contrasts)
    kinds = [row["test"] for row in tests]
    assert (kinds.count("emotions_differ"), kinds.count("encoders_differ")) == (7, 1)
    assert kinds.count("diagonal_nearer") == 7
    assert all(0 < row["p_value"] <= 1 for row in tests if row["p_value"] is not None)
    assert -1 <= tests[-1]["tau"] <= 1


def test_matched_pairs_are_all_clips_where_cells_hold_one_take_of_one_sentence(results):
    figures = {"none": [], "matched": []}
    for row in results["emotion_shifts"]:
        if row["measure"] == "shift":
            figures[row["control"]].append(row["mean"])
    # Cues need several clips per cell.
    assert figures["matched"] == pytest.approx(figures["none"], rel=1e-9)
    contrasts = [row for row in results["emotion_contrasts"] if row["control"] == "matched"]
    assert {row["layer"] for row in contrasts} == {None} and len(contrasts) == 2 * 15


def test_no_sample_of_frames_is_left_behind(study):
    assert not list(study.glob("frames/*"))


def test_the_cross_emotion_diagonal_is_the_shift_of_its_layer(results):
    shifts = {
        (r["encoder"], r["layer"], r["emotion"]): (r["mean"], r["low"], r["high"])
        for r in results["emotion_shifts"]
        if r["measure"] == "shift"
    }
    rows = results["cross_emotion"]
    diagonal = [r for r in rows if r["emotion"] == r["other_emotion"]]
    assert (len(rows), len(diagonal)) == ((1 + 4) * 36, (1 + 4) * 6)
    for row in diagonal:
        expected = shifts[row["encoder"], row["layer"], row["emotion"]]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(expected, rel=1e-9)


def test_provenance_holds_what_is_needed_to_run_it_again(results):
    provenance = results["provenance"]
    assert provenance["config"]["training"]["epochs"] == 2
    assert [encoder["origin"] for encoder in provenance["encoders"]] == ["hand-made", "untrained"]
    assert all(len(encoder["fingerprint"]) == 64 for encoder in provenance["encoders"])
    assert len(provenance["corpus_hash"]) == 64 and "jax" in provenance["versions"]


def test_curves_are_logged_for_every_run_and_epoch(study):
    lines = (study / "logs" / "curves.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 3 * 2 * 4 * 2  # methods of both sources, folds, runs, epochs
    assert list((study / "logs" / "tensorboard").iterdir())
    assert len({record["run_id"] for record in records}) == 1


@pytest.mark.slow
def test_a_probe_in_the_workdir_of_a_study_drops_nothing(study, results, cache, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(study, workdir)
    config = Path(__file__).with_name("tiny_config.py")
    assert main(["probe", f"--config={config}", cache, f"--workdir={workdir}"]) == 0
    joined = json.loads((workdir / "results.json").read_text())
    for section in ("layers", "transfer", "similarity", "emotion_shifts", "layer_weights"):
        assert joined[section] == results[section]
    assert len(joined["confusions"]) == len(results["confusions"])
    runs = joined["provenance"]["runs"]
    assert runs["layers"] != runs["transfer"] == runs["similarity"]
