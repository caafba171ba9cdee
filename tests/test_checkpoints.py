"""Checkpoints: written whole, restored on any mesh, and refused when a single bit is not as it was."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemo.cli.progress import console
from jaxemo.data.checksums import SUMS_NAME, write_checksums
from jaxemo.results.checks import plain
from jaxemo.studies import record as records
from jaxemo.studies.config import read_corpus
from jaxemo.studies.evaluation import evaluate
from jaxemo.studies.record import RECORD_FORMAT, read_model_record
from jaxemo.studies.saved_models import load_model
from jaxemo.training.checkpoint import read_record, restore_state, save_checkpoint
from jaxemo.training.sharding import make_mesh, tree_shardings


def one_device():
    return make_mesh(jax.devices()[:1])


@pytest.mark.parametrize("written_on", [1, 8])
@pytest.mark.parametrize("read_on", [1, 2, 8])
def test_a_checkpoint_restores_bit_equal_on_another_mesh(written_on, read_on, tmp_path):
    def mesh(size):
        return make_mesh(jax.devices()[:size], data=1, fsdp=size)

    kernel = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    state = {"trainable": {"q_proj": {"kernel": kernel}}, "empty": {}}
    placed = jax.device_put(state, tree_shardings(state, mesh(written_on)))
    save_checkpoint(tmp_path / "c", state=placed, record={"emotions": ["sad"], "rate": 0.1})
    restored = restore_state(
        tmp_path / "c", like=state, shardings=tree_shardings(state, mesh(read_on))
    )
    np.testing.assert_array_equal(restored["trainable"]["q_proj"]["kernel"], kernel)
    assert len(restored["trainable"]["q_proj"]["kernel"].sharding.device_set) == read_on
    assert read_record(tmp_path / "c") == {"emotions": ["sad"], "rate": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "axes"),
    [(1, {}), (3, {}), (8, {"data": 2, "fsdp": 4}), (8, {"data": 2, "tensor": 4})],
)
def test_a_model_trained_on_eight_devices_is_evaluated_anywhere(
    count, axes, trained, cache, tmp_path
):
    folder = shutil.copytree(trained / "checkpoint", tmp_path / "moved")
    reference = load_model(folder, mesh=make_mesh())
    model = load_model(folder, mesh=make_mesh(jax.devices()[:count], **axes))
    for found, expected in zip(
        jax.tree.leaves(model.trained), jax.tree.leaves(reference.trained), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
        assert len(found.sharding.device_set) == count
    results = evaluate(
        model,
        read_corpus(model.record["corpus"]),
        cache_dir=Path(cache.partition("=")[2]),
        progress=console(),
    )
    at_training = json.loads((trained / "results.json").read_text())["figures"]
    # Calibration errors are of probabilities, which other meshes round otherwise.
    found, expected = (
        [row for row in rows if not row["metric"].startswith("ECE")]
        for rows in ([plain(row) for row in results["figures"]], at_training)
    )
    assert found == expected


def test_saving_again_replaces_the_checkpoint(tmp_path):
    for value in (1.0, 2.0):
        state = {"x": np.full(3, value, np.float32)}
        save_checkpoint(tmp_path / "c", state=state, record={"value": value})
    restored = restore_state(
        tmp_path / "c", like=state, shardings=tree_shardings(state, one_device())
    )
    assert restored["x"].tolist() == [2.0] * 3 and read_record(tmp_path / "c") == {"value": 2.0}


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        read_record(tmp_path)
    with pytest.raises(ValueError, match="no such directory"):
        read_record(tmp_path / "absent")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "c"
    state = {"kernel": np.linspace(-1, 1, 600, dtype=np.float32).reshape(30, 20)}
    return save_checkpoint(folder, state=state, record={"emotions": ["sad", "happy"]})


def restore(folder: Path):
    like = {"kernel": np.zeros((30, 20), np.float32)}
    return restore_state(folder, like=like, shardings=tree_shardings(like, one_device()))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(flipped(path.read_bytes())),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["one bit", "cut", "emptied", "missing"],
)
def test_every_damaged_file_is_named_and_nothing_is_restored(saved, tmp_path, spoil):
    for number, path in enumerate(files_of(saved)):
        copy = tmp_path / f"c{number}"
        shutil.copytree(saved, copy)
        spoilt = copy / path.relative_to(saved)
        spoil(spoilt)
        with pytest.raises(ValueError, match=r"damaged|SHA256SUMS") as caught:
            restore(copy)
        # A sums file that is wrong names what it no longer fits.
        assert spoilt.name == SUMS_NAME or str(spoilt) in str(caught.value)


@pytest.mark.parametrize("line", ["", f"{0:064}  /etc/passwd", f"{0:064}  ../../x", "x"])
def test_sums_that_are_none_or_lead_elsewhere_are_refused(saved, tmp_path, line):
    shutil.copytree(saved, tmp_path / "c")
    (tmp_path / "c" / "0" / SUMS_NAME).write_text(line and f"{line}\n")
    with pytest.raises(ValueError, match=r"SHA256SUMS is (damaged|cut short)"):
        restore(tmp_path / "c")


def test_a_tree_of_another_shape_is_refused(saved):
    like = {"kernel": np.zeros((3, 3), np.float32)}
    with pytest.raises(ValueError, match="does not hold the tree"):
        restore_state(saved, like=like, shardings=tree_shardings(like, one_device()))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_not_saved(tmp_path, value):
    with pytest.raises(ValueError, match="NaN or infinity in head/bias"):
        state = {"head": {"bias": np.array([0.0, value], np.float32)}}
        save_checkpoint(tmp_path, state=state, record={})


def test_what_a_killed_save_left_is_removed_by_the_next(tmp_path):
    leftover = tmp_path / "c" / ".unfinished-1" / "state"
    leftover.mkdir(parents=True)
    save_checkpoint(tmp_path / "c", state={"x": np.zeros(2, np.float32)}, record={})
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["0"]


# The record ----------------------------------------------------------------------------------

GOOD = {
    "format": RECORD_FORMAT,
    "identity": "0" * 64,
    "jaxemo": "0.1.0",
    "encoder": {
        "name": "e",
        "source": "untrained/speech",
        "origin": "untrained",
        "revision": "",
        "fingerprint": "f" * 64,
        "sample_rate_hz": 16000,
    },
    "method": {"name": "lora", "options": {"rank": 4}},
    "first_method": None,
    "objective": "emotion_classes",
    "head": {
        "form": "standardised",
        "pooling": "mean",
        "width": 8,
        "dropout": 0.1,
        "num_layers": 4,
        "num_features": 48,
    },
    "outputs": ["sad", "happy"],
    "audio": {"crop_seconds": 1.0},
    "corpus": {"name": "synthetic", "hash": "0" * 64},
    "training": {
        "batch_size": 4,
        "compute_dtype": "float32",
        "regime": "r",
        "domains": ["speech"],
        "seed": 0,
        "fold": 1,
    },
    "seen_speakers": ["a/1"],
    "seen_digests": ["0" * 64],
    "best_epoch": 1,
    "temperature": 1.0,
    "figures": [],
    "history": [],
}
WRONG = (None, [], {}, -1, 1e400, "", 10**30, [[]], "x" * 10_000)


def with_record(saved: Path, folder: Path, text: str) -> Path:
    """A copy with this record, and sums that fit it, as an attacker would make it."""
    shutil.copytree(saved, folder)
    (folder / "0" / "record" / "metadata").write_text(text, encoding="utf-8")
    write_checksums(folder / "0")
    return folder


def test_a_whole_record_is_read(saved, tmp_path):
    assert read_model_record(with_record(saved, tmp_path / "c", json.dumps(GOOD))) == GOOD


def test_a_record_of_format_5_is_of_emotion_classes_and_means(saved, tmp_path):
    """As jaxemo wrote it before it knew ratings, tags and other poolings than the mean."""
    later = ("outputs", "temperature", "first_method")
    others = {key: value for key, value in GOOD.items() if key not in later}
    head = {key: GOOD["head"][key] for key in ("width", "dropout", "num_layers", "num_features")}
    before = {**others, "format": 5, "emotions": ["sad", "happy"], "head": head}
    assert read_model_record(with_record(saved, tmp_path / "c", json.dumps(before))) == GOOD


def test_a_record_of_format_6_merges_nothing_into_its_base(saved, tmp_path):
    before = {key: value for key, value in GOOD.items() if key != "first_method"} | {"format": 6}
    assert read_model_record(with_record(saved, tmp_path / "c", json.dumps(before))) == GOOD


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("lora", "first_method is 'lora'"),
        ({"name": "lroa", "options": {}}, "first_method is 'lroa'"),
        ({"name": "adapter", "options": {}}, "first_method is 'adapter', which cannot be merged"),
        ({"name": "lora", "options": {"rank": 0}}, "first_method.options.rank is 0"),
    ],
)
def test_what_is_merged_into_a_base_is_a_method_that_can_be(first, fault, saved, tmp_path):
    spoilt = json.dumps(GOOD | {"first_method": first})
    with pytest.raises(ValueError, match=fault):
        read_model_record(with_record(saved, tmp_path / "c", spoilt))


@pytest.mark.parametrize("key", sorted(records.KEYS))
def test_every_key_of_a_record_has_a_range(saved, tmp_path, key):
    path = with_record(saved, tmp_path / "c", "{}") / "0" / "record" / "metadata"
    for wrong in WRONG:
        spoilt = json.loads(json.dumps(GOOD))
        place = spoilt
        *blocks, name = key.split(".")
        for block in blocks:
            place = place[block]
        may_be = {"encoder.revision": "", "seen_speakers": [], "seen_digests": []}
        if key in may_be and wrong == may_be[key]:
            continue
        place[name] = wrong
        path.write_text(json.dumps(spoilt).replace("Infinity", "1e400"), encoding="utf-8")
        write_checksums(path.parent.parent)
        with pytest.raises(ValueError, match="record"):
            read_model_record(tmp_path / "c")


def test_an_encoder_that_has_moved_asks_for_the_flag(saved, tmp_path):
    moved = GOOD | {"encoder": GOOD["encoder"] | {"source": str(tmp_path / "no" / "such")}}
    checkpoint = with_record(saved, tmp_path / "c", json.dumps(moved))
    with pytest.raises(ValueError, match="pass --encoder=FOLDER"):
        load_model(checkpoint, mesh=one_device())


@pytest.mark.parametrize("block", ["encoder", "method", "head", "audio", "corpus", "training"])
@pytest.mark.parametrize("wrong", [None, [], "text", 1])
def test_every_block_of_a_record_is_a_block(saved, tmp_path, block, wrong):
    text = json.dumps(GOOD | {block: wrong})
    with pytest.raises(ValueError, match=f"{block}[. ]"):
        read_model_record(with_record(saved, tmp_path / "c", text))


def combined(**options):
    parts = ["lora", "adapter"]
    return {"name": "combined", "options": {"parts": parts, "options": options}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "object of keys"),
        ("{", "no record"),
        ('{"format": NaN}', "NaN is no JSON number"),
        ('{"a":' * 100_000, "no record"),
        ('{"format": 4, "a": ' + "[" * 50 + "]" * 50 + "}", "20 deep"),
        ('{"format": 1}', "record format 1"),
        (json.dumps(GOOD | {"method": {"name": "lora", "options": {"rank": 0}}}), "rank"),
        (json.dumps(GOOD | {"method": {"name": "lora", "options": {"x": 1}}}), "options.x"),
        (json.dumps(GOOD | {"method": combined(lora={"rank": 0})}), r"options\.lora\.rank is 0"),
        (json.dumps(GOOD | {"method": combined(full={})}), r"options\.options .*blocks called"),
        (json.dumps(GOOD | {"method": combined(lora=[])}), r"options\.lora is empty; .*block"),
        (json.dumps(GOOD | {"figures": [{"a": 1}]}), "figures"),
    ],
)
def test_a_record_that_is_none_is_refused(saved, tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_model_record(with_record(saved, tmp_path / "c", text))
