"""Embed here, study there: a folder of `jaxemo embed` in the place of its encoder."""

import json

import pytest

from jaxemo.cli.main import main

pytestmark = pytest.mark.xdist_group("embedding_source")

WHOLE = [
    "--config.encoders=untrained/speech",
    "--config.audio.excerpt=whole",
    "--config.audio.trim_silence_db=0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config, cache):
    workdir = tmp_path_factory.mktemp("embeddings")
    arguments = [tiny_config, cache, "--config.encoders=untrained/speech"]
    assert main(["embed", *arguments, "--config.embed.frames=frames", f"--workdir={workdir}"]) == 0
    [folder] = workdir.iterdir()
    return folder


def rows(command, section, workdir, *arguments):
    """The rows of a section after a command, without what names the encoder's source."""
    assert main([command, *arguments, f"--workdir={workdir}"]) == 0
    return json.loads((workdir / "results.json").read_text())[section]


def elsewhere(folder, tmp_path):
    """Flags for a machine that has the folder and nothing else."""
    return [
        f"--config.encoders={folder}",
        "--config.corpus.name=embeddings",
        f"--config.corpus.manifest={folder}",
        f"--config.cache_dir={tmp_path / 'another cache'}",
    ]


def test_probes_on_a_folder_are_those_on_its_encoder(folder, tiny_config, cache, tmp_path):
    direct = rows("probe", "layers", tmp_path / "a", tiny_config, cache, *WHOLE)
    from_folder = rows("probe", "layers", tmp_path / "b", tiny_config, *elsewhere(folder, tmp_path))
    assert len(direct) == len(from_folder) > 0
    for one, other in zip(direct, from_folder, strict=True):
        assert one == {**other, "mean": pytest.approx(other["mean"], abs=0.02), **ends(one)}


def ends(row):
    """A probe sees pooled layers of whole clips that differ by rounding; a tie may fall elsewhere."""
    return {"low": row["low"], "high": row["high"], "converged": row["converged"]}


def test_frozen_methods_train_on_a_folder(folder, tiny_config, tmp_path):
    found = rows(
        "transfer",
        "transfer",
        tmp_path / "t",
        tiny_config,
        *elsewhere(folder, tmp_path),
        "--config.transfer.methods=weighted_sum",
    )
    assert {row["method"] for row in found} == {"weighted_sum"}


def test_methods_that_adapt_the_encoder_refuse_a_folder(folder, tiny_config, tmp_path, capsys):
    arguments = [tiny_config, *elsewhere(folder, tmp_path), "--config.transfer.methods=lora"]
    assert main(["transfer", *arguments, f"--workdir={tmp_path / 't'}"]) == 2
    assert "weighted_sum" in capsys.readouterr().err


@pytest.mark.slow
def test_distances_on_a_folder_rest_on_its_frames(folder, tiny_config, tmp_path):
    found = rows("fad", "similarity", tmp_path / "f", tiny_config, *elsewhere(folder, tmp_path))
    assert {row["metric"] for row in found} >= {"FAD", "KAD"}


def test_pooled_embeddings_alone_have_no_distances(folder, tiny_config, tmp_path, capsys):
    pooled = tmp_path / folder.name
    pooled.mkdir()
    for path in folder.iterdir():
        if path.name != "frames.npy":
            (pooled / path.name).symlink_to(path)
    arguments = [tiny_config, *elsewhere(pooled, tmp_path)]
    assert main(["fad", *arguments, f"--workdir={tmp_path / 'f'}"]) == 2
    assert "--config.embed.frames=frames" in capsys.readouterr().err


def test_a_corpus_of_other_clips_is_refused(folder, tiny_config, cache, tmp_path, capsys):
    other = [f"--config.encoders={folder}", "--config.corpus.seed=1"]
    arguments = [tiny_config, cache, *other]
    assert main(["probe", *arguments, f"--workdir={tmp_path / 'p'}"]) == 2
    assert "Embed the corpus again" in capsys.readouterr().err
