"""Settings: every key against spoilt values, what ties keys together, and what messages say."""

import dataclasses

import pytest
from ml_collections.config_dict import required_placeholder
from spoilt_settings import (
    ANY_NAMES,
    IN_FILES,
    IN_RANGE,
    MAY_BE_EMPTY,
    SPOILT,
    TYPED,
    TYPED_IN_RANGE,
)

from jaxemo.cli.main import main
from jaxemo.models.encoder import Remat
from jaxemo.peft import METHODS as PEFT_METHODS
from jaxemo.peft.combined import COMBINABLE
from jaxemo.peft.lora import SCALINGS
from jaxemo.peft.targets import KERNELS
from jaxemo.studies import method_settings
from jaxemo.studies.config import Settings, default_config, read_corpus, read_settings
from jaxemo.studies.method_settings import METHODS
from jaxemo.studies.ranges import Between, Block, Items, fault_of
from jaxemo.studies.regimes import REGIMES as TRANSFER_REGIMES
from jaxemo.studies.study_settings import REGIMES
from jaxemo.studies.training_settings import REMAT


def keys_of(block, prefix=""):
    for key, value in block.items():
        if isinstance(value, Block):
            yield from keys_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


KEYS = tuple(keys_of(Settings()))


def value_at(key):
    value = Settings()
    for part in key.split("."):
        value = value[part]
    return value


def changed(**values):
    """The defaults with values at full keys, dots written as two underscores.

    Plain dicts: an ml_collections block would turn True into 1.0 before anything could see it.
    """
    config = Settings().to_dict()
    for key, value in values.items():
        *blocks, name = key.split("__")
        block = config
        for part in blocks:
            block = block[part]
        block[name] = value
    return config


def refusal(**values):
    with pytest.raises(ValueError) as fault:
        read_settings(changed(**values))
    return str(fault.value)


@pytest.mark.parametrize("key", KEYS)
def test_every_spoilt_value_is_refused_by_name_or_in_the_declared_range(key):
    for name, value in SPOILT.items():
        config = changed(**{key.replace(".", "__"): value})
        if (key, name) in IN_RANGE:
            read = read_settings(config)
            for part in key.split("."):
                read = read[part]
            assert read == value, name
        else:
            with pytest.raises(ValueError, match=rf"config\.{key} (is|has) ") as fault:
                read_settings(config)
            assert len(str(fault.value).splitlines()) == 2, (key, name)
            assert "; expected " in str(fault.value)


@pytest.mark.parametrize("key", KEYS)
def test_a_config_file_may_set_a_key_to_anything_and_it_is_refused_alike(key):
    *blocks, last = key.split(".")
    for name in IN_FILES:
        config = default_config()
        block = config
        for part in blocks:
            block = block[part]
        block[last] = SPOILT[name]
        if (key, name) in IN_RANGE:
            read_settings(config)
        else:
            with pytest.raises(ValueError, match=rf"config\.{key}( |\.)"):
                read_settings(config)


@pytest.mark.parametrize("key", KEYS)
def test_a_flag_of_any_spoilt_text_ends_with_its_key_and_exit_code_2(
    key, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("jaxemo.cli.handlers.run_studies", None)
    workdir = tmp_path / "w"
    for name, text in TYPED.items():
        if (key, name) in IN_RANGE | TYPED_IN_RANGE or (
            key in ANY_NAMES and name not in ("empty", "long text")
        ):
            continue
        if key in MAY_BE_EMPTY and name == "empty":
            continue
        arguments = ["study", "--config=demo", f"--config.{key}={text}", f"--workdir={workdir}"]
        assert main(arguments) == 2, name
        said = capsys.readouterr().err
        assert len([line for line in said.splitlines() if f"config.{key}" in line]) == 1
        assert "Traceback" not in said
    assert not workdir.exists()


# A place in these lists means a layer.
REPEATING = ("methods.lora.layer_ranks", "methods.dora.layer_ranks")
# A place in these means an emotion, or the end of a range.
PLACES = (
    *("corpus.synthetic.domain_shifts", "corpus.synthetic.emotion_spreads"),
    *("augmentation.speed", "augmentation.noise_snr_db", "augmentation.gain_db"),
)


@pytest.mark.parametrize(
    "key",
    [key for key in KEYS if isinstance(value_at(key), tuple) and key not in (*REPEATING, *PLACES)],
)
def test_every_list_of_names_refuses_an_item_that_stands_twice(key):
    items = value_at(key) or MAY_BE_EMPTY[key]
    said = refusal(**{key.replace(".", "__"): (*items, items[0])})
    assert f"config.{key} has [{items[0]!r}] more than once; expected each once" in said


@pytest.mark.parametrize("key", REPEATING)
def test_a_list_by_layer_takes_a_value_twice(key):
    value = read_settings(changed(**{key.replace(".", "__"): [4, 8, 8, 0]}))
    for part in key.split("."):
        value = value[part]
    assert value == (4, 8, 8, 0)


@pytest.mark.parametrize(
    "key",
    [
        "layers.num_seeds",
        "transfer.num_seeds",
        "transfer.num_folds",
        "folds.num_folds",
        "training.epochs",
        "methods.weighted_sum.epochs",
        "similarity.permutations",
        "similarity.frames_per_clip",
        "corpus.clips_per_cell",
        "training.batch_size",
        "methods.lora.rank",
        "methods.adapter.bottleneck",
    ],
)
def test_work_that_could_not_end_is_refused(key):
    assert f"config.{key} is 1000000000; expected a whole number" in refusal(
        **{key.replace(".", "__"): 10**9}
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("methods.lora.adaptation_rate", 1.5),
        ("training.head_rate", 10.0),
        ("training.head_dropout", 0.99),
        ("training.weight_decay", 5.0),
        ("training.warmup", 1.5),
        ("audio.crop_seconds", 3600.0),
        ("embed.window_seconds", 3600.0),
        ("audio.trim_silence_db", 0.5),
        ("similarity.trim_silence_db", 200.0),
    ],
)
def test_absurd_values_are_refused(key, value):
    said = refusal(**{key.replace(".", "__"): value})
    assert f"config.{key} is {value}; expected a number" in said


@pytest.mark.parametrize("methods", [{"prefix": {}}, {"lora": {"rnk": 8}}, {"lora": 3}])
def test_blocks_and_keys_of_methods_that_there_are_not_are_refused(methods):
    config = changed()
    config["methods"] |= methods
    with pytest.raises(ValueError, match=r"config\.methods\.(prefix|lora\.rnk|lora) is "):
        read_settings(config)


def test_a_placeholder_that_nobody_filled_is_named():
    config = default_config()
    config.corpus.audio_dir = required_placeholder(str)
    with pytest.raises(ValueError, match=r"config\.corpus\.audio_dir .* was given no value"):
        read_settings(config)


def test_the_table_of_accepted_values_names_no_key_that_is_gone():
    assert {key for key, _ in IN_RANGE} <= set(KEYS)


def test_the_defaults_are_in_range_and_come_back_as_they_are():
    assert read_settings(default_config()) == Settings()


def test_whole_numbers_become_floats_and_lists_become_tuples():
    settings = read_settings(changed(audio__crop_seconds=2, encoders=["acoustic"]))
    assert type(settings.audio.crop_seconds) is float
    assert settings.encoders == ("acoustic",)


def test_all_faults_come_at_once_in_the_order_of_the_keys():
    said = refusal(seed=-1, audio__crop_seconds=0.0, transfer__methods=("lora", "lroa"))
    assert said.splitlines()[1:] == [
        "  config.seed is -1; expected a whole number, 0 or more and at most 2147483647",
        "  config.audio.crop_seconds is 0.0; expected a number, 0.025 or more and at most 600",
        f"  config.transfer.methods has ['lroa']; expected of {METHODS.words()}",
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"corpus__name": "ravdess"}, "config.corpus.audio_dir is empty; expected a folder"),
        ({"corpus__name": "manifest"}, "config.corpus.manifest is empty; expected a table"),
        ({"corpus__emotions": ("sad", "bored")}, "config.corpus.emotions is ('sad', 'bored')"),
        ({"corpus__emotions": ("disgust",)}, "config.corpus.emotions is ('disgust',)"),
        ({"folds__num_folds": 2}, "config.folds.num_folds is 2; expected 3 or more"),
        ({"train__fold": 6}, "config.train.fold is 6; expected less than the number of folds"),
        (
            {"embed__overlap_seconds": 2, "embed__window_seconds": 2},
            "config.embed.overlap_seconds is 2.0; expected at most half of the window "
            "(config.embed.window_seconds is 2.0)",
        ),
        ({"training__micro_batches": 5}, "config.training.micro_batches is 5; expected a divisor"),
        ({"encoders": ("a", "b", "a")}, "config.encoders has ['a'] more than once"),
        ({"encoders": ("x" * 5000,)}, "config.encoders has"),
        ({"audio": 3}, "config.audio is 3; expected a block of keys: excerpt, crop"),
        (
            {"audio__crop_second": 3},
            "config.audio.crop_second is no key that anything reads; did you mean",
        ),
    ],
)
def test_what_ties_keys_together_is_said_with_both(values, words):
    assert words in refusal(**values)


def test_a_missing_block_or_key_is_named():
    config = default_config().unlock()
    del config.audio.batch_size
    del config.mesh
    with pytest.raises(ValueError) as fault:
        read_settings(config)
    said = str(fault.value)
    assert "config.audio.batch_size is missing" in said
    assert "config.mesh is missing" in said


def test_rules_are_not_asked_about_values_that_are_wrong_already():
    assert "divisor" not in refusal(training__micro_batches=0)


def test_a_corpus_of_an_older_checkpoint_has_the_defaults_that_it_lacks():
    corpus = read_corpus(
        {"name": "manifest", "manifest": "a.csv", "hash": "0", "emotions": ["sad"]}
    )
    assert (corpus.name, corpus.emotions, corpus.calm) == ("manifest", ("sad",), "keep_apart")


def test_a_spoilt_record_of_a_corpus_is_refused():
    with pytest.raises(ValueError, match=r"corpus\.calm is 'maybe'"):
        read_corpus({"calm": "maybe"})


def test_names_of_methods_and_regimes_are_those_that_the_studies_know():
    assert METHODS.names == tuple(PEFT_METHODS)
    assert REGIMES.names == TRANSFER_REGIMES


def test_names_of_kernels_and_scalings_are_those_that_the_methods_know():
    assert method_settings.KERNELS.names == tuple(KERNELS)
    assert method_settings.SCALINGS.names == tuple(SCALINGS)
    assert method_settings.PARTS.names == COMBINABLE


def test_what_is_computed_again_is_called_as_the_encoder_calls_it():
    assert REMAT.names == tuple(choice.value for choice in Remat)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().audio.crop_seconds = 1.0


def test_a_block_reads_like_the_config_block_that_it_is_made_of():
    settings, config = Settings(), default_config()
    assert settings.methods.lora.to_dict() == config.methods.lora.to_dict()
    assert dict(settings.methods.get("lora", {})) == dict(config.methods.lora)
    assert settings.methods.get("absent") is None


@pytest.mark.parametrize(
    ("value", "fault"), [(None, ""), (2, ""), (0, "is 0; expected a whole number, 1 or more")]
)
def test_a_value_may_be_declared_optional(value, fault):
    from typing import Annotated

    assert fault_of(value, Annotated[int | None, Between(1, 4)]).startswith(fault)


def test_items_have_at_least_and_at_most_so_many():
    from typing import Annotated

    declared = Annotated[tuple[int, ...], Items(Between(0, 9), least=2, most=3)]
    assert fault_of((1, 2), declared) == ""
    assert "expected at least 2" in fault_of((1,), declared)
    assert "expected at most 3" in fault_of((1, 2, 3, 4), declared)


def test_the_command_refuses_before_it_makes_anything(tmp_path, capsys):
    workdir = tmp_path / "w"
    arguments = ["--config=ravdess_quick", "--config.training.epochs=0", f"--workdir={workdir}"]
    assert main(["train", *arguments]) == 2
    said = capsys.readouterr().err
    assert "config.corpus.audio_dir is empty" in said
    assert "config.training.epochs is 0" in said
    assert not workdir.exists()


@pytest.mark.parametrize("command", ["train", "transfer"])
def test_a_mesh_of_other_devices_than_there_are_is_refused_before_anything_is_read(
    command, tmp_path, capsys, monkeypatch
):
    for module in ("train", "study"):
        monkeypatch.setattr(f"jaxemo.studies.{module}.prepare_experiment", None)
    flags = ["--config=demo", "--config.mesh.data=3", f"--config.cache_dir={tmp_path / 'c'}"]
    assert main([command, *flags, f"--workdir={tmp_path / 'w'}"]) == 2
    assert "data=3 x fsdp=1 x tensor=1 needs 3 devices" in capsys.readouterr().err
