"""Second stages: what they take from the first, and runs that each adapt a merged base of their own."""

import functools
import json

import jax
import numpy as np
import pytest
from test_runs import LABELS, SETTINGS, assert_equal_fits, classes, pooled_layers, three_runs

from jaxemo.cli.main import main
from jaxemo.models.heads import layer_statistics
from jaxemo.peft import make_method
from jaxemo.peft.method import flatten, unflatten
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.second_stage import check_merges, start_after, started
from jaxemo.training.checkpoint import read_record
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Network
from jaxemo.training.program import make_program
from jaxemo.training.sharding import make_mesh
from jaxemo.training.snapshots import SnapshotFolder

MERGED = ("merged", "head")
# Merged and unmerged kernels round differently.
MERGE_TOLERANCE = 1e-5


def network_of(small_encoder, name, *, first=None):
    first_method = None if first is None else make_method(first)
    return Network(small_encoder[0], make_method(name), 8, 0.0, 3, first_method=first_method)


def trained_by(network, base, *, seed):
    """A tree as a first stage might leave it: away from the identity."""
    fresh = network.init(jax.random.key(seed), base, layer_statistics(pooled_layers()))
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: np.float32(leaf + 0.1 * draw.normal(size=leaf.shape)), dict(fresh)
    )


def merged_by_hand(base, factors, *, scale=2.0):
    """W + scale A B at every kernel with factors; alpha is 16 and the rank 8."""
    flat, factors = flatten(base), flatten(factors)
    for path in {name.removesuffix("/a") for name in factors if name.endswith("/a")}:
        update = scale * factors[f"{path}/a"] @ factors[f"{path}/b"]
        flat[f"{path}/kernel"] = flat[f"{path}/kernel"] + update
    return unflatten(flat)


@pytest.mark.parametrize(("first", "second"), [("lora", "bitfit"), ("full", "lora")])
def test_before_its_first_step_it_answers_as_the_first_stages_model(
    first, second, small_encoder, stems
):
    base, [run, *_] = small_encoder[1], three_runs()
    before = network_of(small_encoder, first)
    after = network_of(small_encoder, second, first=first)
    tree = trained_by(before, base, seed=0)
    inputs = started(after, base, run, start_after(tree, MERGED))

    def outputs(network, trainable, inherited):
        own_base = network.own_base(base, inherited)
        return network.outputs(trainable, own_base, stems, statistics=run.statistics)

    expected = jax.jit(functools.partial(outputs, before))(tree, ())
    compiled = jax.jit(functools.partial(outputs, after))
    found = compiled(inputs.initial, inputs.inherited)
    np.testing.assert_allclose(found, expected, atol=MERGE_TOLERANCE)
    fresh_start = started(after, base, run, start_after(tree, ("merged",))).initial
    assert not np.allclose(compiled(fresh_start, inputs.inherited), expected, atol=1e-2)


@pytest.fixture(scope="module")
def stages(small_encoder):
    """Three second stages by LoRA on merged bases: (program, base, runs)."""
    base = small_encoder[1]
    before = network_of(small_encoder, "lora")
    after = network_of(small_encoder, "lora", first="lora")
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(after, classes(), SETTINGS, mesh=mesh)
    runs = [
        started(after, base, run, start_after(trained_by(before, base, seed=seed), MERGED))
        for seed, run in enumerate(three_runs())
    ]
    return program, base, runs


@pytest.fixture(scope="module")
def examples(stems):
    # No table, so that a call of the device is one step.
    return Examples(DenseFeatures(stems, table_bytes=0), LABELS)


@pytest.fixture(scope="module")
def fits(stages, examples):
    return fit_runs(*stages[:2], examples, stages[2])


def test_each_run_is_trained_on_its_own_base_as_if_merged_by_hand(
    stages, fits, examples, small_encoder
):
    program, _, runs = stages
    alone = make_program(network_of(small_encoder, "lora"), classes(), SETTINGS, mesh=program.mesh)
    for run, fit in zip(runs[:2], fits, strict=False):
        by_hand = merged_by_hand(small_encoder[1], run.inherited)
        assert_equal_fits([fit], fit_runs(alone, by_hand, examples, [run._replace(inherited=())]))


def test_one_that_was_interrupted_ends_in_the_same_bits(stages, fits, examples, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(run, record, timing):
        if record.epoch == 1:
            raise Interrupted

    def fit(on_epoch):
        return fit_runs(
            *stages[:2],
            examples,
            stages[2],
            on_epoch=on_epoch,
            snapshots=lambda runs: SnapshotFolder(tmp_path / "s", seconds=0.0),
        )

    with pytest.raises(Interrupted):
        fit(interrupt)
    for one, other in zip(fit(lambda *_: None), fits, strict=True):
        assert one.history == other.history
        jax.tree.map(np.testing.assert_array_equal, one.trainable, other.trainable)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"inherits": ("adaptation", "merged")}, "not both"),
        ({"second_method": "lora"}, "config.transfer.second_method is 'lora'; expected ''"),
        ({"inherits": MERGED}, "nothing to merge of weighted_sum, adapter"),
        ({"inherits": MERGED, "methods": ("prefix_tuning",)}, "nothing to merge of prefix_tuning"),
        (
            {"inherits": MERGED, "methods": ("lora",), "second_method": "weighted_sum"},
            "config.transfer.second_method is 'weighted_sum', which is trained on stored layers",
        ),
    ],
)
def test_what_no_second_stage_can_take_is_refused_by_name(changes, fault):
    config = default_config()
    config.transfer.update(changes)
    with pytest.raises(ValueError, match=fault):
        check_merges(read_settings(config))


@pytest.mark.xdist_group("cli")
def test_a_study_by_two_methods_is_resumed_and_its_models_are_scored_as_in_training(
    tiny_config, cache, tmp_path, monkeypatch
):
    flags = [
        *(tiny_config, cache, "--config.encoders=untrained/speech,"),
        *("--config.transfer.methods=lora,", "--config.transfer.inherits=merged,head"),
        *("--config.transfer.second_method=bitfit", "--config.transfer.num_folds=1"),
    ]
    study = ["transfer", *flags, f"--workdir={tmp_path}"]
    assert main(study) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["transfer"]
    sizes = {row["regime"]: row["trainable_parameters"] for row in rows}
    assert sizes["two_stage"] != sizes["target_only"]
    [checkpoint] = tmp_path.glob("models/*/lora/speech-two_stage/fold0-seed0")
    record = read_record(checkpoint)
    assert (record["method"]["name"], record["first_method"]["name"]) == ("bitfit", "lora")

    scored = tmp_path / "scored"
    assert main(["evaluate", f"--checkpoint={checkpoint}", *flags[:2], f"--workdir={scored}"]) == 0
    found = json.loads((scored / "results.json").read_text())["figures"]
    for one, other in zip(found, record["figures"], strict=True):
        assert one == other | {"mean": pytest.approx(other["mean"], abs=1e-4)}
    arguments = [f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'hub'}"]
    assert main(["export", *arguments, "--format=hub"]) == 0
    assert main(["export", *arguments, "--format=peft"]) == 2

    monkeypatch.setattr("jaxemo.training.stack.RunStack._train_epoch", None)
    assert main(study) == 0
    assert json.loads((tmp_path / "results.json").read_text())["transfer"] == rows
