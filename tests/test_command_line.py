"""How the command line is read, and how a command ends: flags, configs by name, tuples, exit codes."""

import importlib
import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxemo.cli import running
from jaxemo.cli.command import ArgumentFault, parse
from jaxemo.cli.config_flags import find_config, shipped_configs
from jaxemo.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"


def config_of(*tokens):
    return parse(COMMANDS["study"], [CONFIG, *tokens])["config"]


# The table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_flags_are_its_handlers_keywords(name):
    command = COMMANDS[name]
    module, _, function = command.handler.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    flags = {flag.name for flag in command.flags}
    if command.positional is not None:
        flags.add(command.positional.name)
    kinds = {parameter.kind for parameter in parameters.values()}
    named = {n for n, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    assert named <= flags
    assert named == flags or inspect.Parameter.VAR_KEYWORD in kinds


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_flag_that_is_read(name, capsys):
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    for flag in COMMANDS[name].flags:
        assert f"--{flag.name}" in said


def test_help_takes_less_than_a_second():
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "jaxemo.cli.main", "--help"], check=True, cwd=ROOT)
    assert time.monotonic() - started < 1


# Flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [["--workdir=a/b"], ["--workdir", "a/b"]])
def test_values_come_after_a_space_or_an_equals_sign(tokens):
    assert parse(COMMANDS["study"], [CONFIG, *tokens])["workdir"] == Path("a/b")


def test_config_values_come_after_a_space_or_an_equals_sign():
    path = CONFIG.partition("=")[2]
    tokens = ["--config", path, "--config.seed", "4", "--config.audio.crop_seconds=1"]
    config = parse(COMMANDS["study"], tokens)["config"]
    assert config.seed == 4
    assert config.audio.crop_seconds == 1.0


def test_files_and_flags_may_come_in_any_order():
    values = parse(COMMANDS["predict"], ["a.wav", "--checkpoint=x", "b.wav", "--encoder", "y"])
    assert values["files"] == ("a.wav", "b.wav")
    assert values["encoder"] == "y"


@pytest.mark.parametrize(
    ("name", "tokens", "workdir"),
    [
        ("study", ["--config=demo"], Path("runs/demo")),
        ("study", [CONFIG], Path("runs/tiny_config")),
        ("fad", ["--config=demo"], Path("runs/demo")),
        ("fad", ["--reference=a", "--candidate=b", "--encoder=c"], None),
        ("evaluate", ["--checkpoint=x", "--config=demo"], None),
    ],
)
def test_the_default_workdir_is_named_after_the_config(name, tokens, workdir):
    assert parse(COMMANDS[name], tokens)["workdir"] == workdir


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stduy"], "unknown command 'stduy'; did you mean 'study'?"),
        (["study", "--confg=demo"], "unknown flag --confg; did you mean --config?"),
        (["study", "--confg.seed=1"], "unknown flag --confg.seed; did you mean --config.seed?"),
        (["predict", "--config=demo", "a.wav"], "unknown flag --config"),
        (["study", "--config=dmo"], "no config file 'dmo'; did you mean 'demo'? (known by name"),
        (["study", "--config=configs/absent.py"], "no config file 'configs/absent.py'"),
        (["study", "--config.seed=1"], "--config.seed=1 came without --config"),
        (["study", "--config"], "--config needs a value"),
        (["study", CONFIG, "--config.sed=1"], "no key config.sed; did you mean config.seed?"),
        (
            ["study", CONFIG, "--config.audio.epochs=1"],
            "no key config.audio.epochs; did you mean config.",
        ),
        (["study", CONFIG, "--config.audio=1"], "config.audio is a block of keys"),
        (["study", CONFIG, "--config.encoders=('a'"], "config.encoders is ('a'"),
        (["study", CONFIG, "--config.layers.l2_strengths=a,b"], "config.layers.l2_strengths has"),
        (["fad", "--reference=a", "--crop_seconds=x"], "--crop_seconds"),
        (["cache", "--clear=everything"], "--clear"),
        (["config", "demo", "ravdess"], "takes at most 1"),
        (["config", "dmo"], "no config file 'dmo'"),
        (["report", "--workdir=x"], "needs at least one results.json"),
        (["report", "results.json"], "needs --workdir"),
        (["export", "--checkpoint=x"], "needs --workdir"),
    ],
)
def test_bad_arguments_are_one_line_with_the_nearest_name(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


# Tuples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoders"),
    [
        ("a,b", ("a", "b")),
        ("a", ("a",)),
        ("a, b/c ,", ("a", "b/c")),
        ("('a','b')", ("a", "b")),
        ("('a',)", ("a",)),
        ("['a', 'b']", ("a", "b")),
        ("'a,b'", ("a,b",)),
        ("12", ("12",)),
        ("", ()),
    ],
)
def test_tuples_of_names_are_read_with_and_without_brackets(text, encoders):
    assert config_of(f"--config.encoders={text}").encoders == encoders


@pytest.mark.parametrize("text", ["1e-3,2", "(1e-3, 2)", "0.001, 2.0"])
def test_numbers_in_tuples_have_the_type_that_the_defaults_have(text):
    strengths = config_of(f"--config.layers.l2_strengths={text}").layers.l2_strengths
    assert strengths == (0.001, 2.0)
    assert [type(value) for value in strengths] == [float, float]


@pytest.mark.parametrize(
    "key", ["encoders", "corpus.domains", "corpus.emotions", "transfer.methods", "train.domains"]
)
def test_every_tuple_of_names_takes_commas(key):
    config = config_of(f"--config.{key}=one,two")
    for part in key.split("."):
        config = config[part]
    assert config == ("one", "two")


# Configs --------------------------------------------------------------------------------------


def test_configs_are_known_by_name_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"demo", "ravdess", "ravdess_quick"} <= set(shipped_configs())
    assert find_config("demo").is_file()


def test_a_file_comes_before_a_shipped_config_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("def get_config(): pass\n")
    assert find_config("demo") == Path("demo")


def test_an_argument_reaches_the_config_file():
    tokens = [f"{CONFIG}:music"]
    config = parse(COMMANDS["study"], tokens)["config"]
    assert config.encoders == ("acoustic", "untrained/music")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config():\n    return {}\n", "expected a ConfigDict"),
        ("", "has no attribute 'get_config'"),
        ("def get_config(:", "SyntaxError"),
        (
            "from jaxemo.studies.config import default_config\n"
            "def get_config():\n    config = default_config()\n    config.sed = 1\n",
            "sed",
        ),
    ],
)
def test_a_config_file_that_gives_no_config_is_refused(text, words, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ArgumentFault, match=words):
        parse(COMMANDS["study"], [f"--config={path}"])


def test_config_prints_the_text_of_a_file_to_start_from(capsys):
    assert main(["config", "demo"]) == 0
    assert capsys.readouterr().out == (ROOT / "configs" / "demo.py").read_text()


def test_config_lists_every_shipped_config_with_its_first_line(capsys):
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_configs())
    assert "All three studies on the embedded corpus" in lines[0]


# How a command ends ---------------------------------------------------------------------------


def end_of(monkeypatch, error):
    """Exit code of a command whose handler raises."""

    def handler(**values):
        raise error

    monkeypatch.setattr(running, "raising", handler, raising=False)
    return running.run("study", COMMANDS["info"]._replace(handler="jaxemo.cli.running:raising"), [])


def test_an_unexpected_error_is_one_line_and_a_traceback_in_a_file(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert end_of(monkeypatch, KeyError("layers")) == 1
    said = capsys.readouterr().err
    [file] = tmp_path.iterdir()
    assert said.count("\n") == 1
    assert "KeyError: 'layers'. Please report it" in said
    assert str(file) in said
    assert "in handler" in file.read_text()


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x")])
def test_the_environment_lets_errors_through(error, monkeypatch):
    monkeypatch.setenv("JAXEMO_TRACEBACK", "1")
    with pytest.raises(type(error)):
        end_of(monkeypatch, error)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("place", ["arguments", "handler", "cleaning up"])
def test_a_signal_ends_a_process_in_one_line(place, number, code):
    """While arguments are read, in the handler, and once more while it cleans up."""
    program = (
        "import sys, time\n"
        "from jaxemo.cli import running\n"
        "from jaxemo.cli.main import COMMANDS\n"
        "def sleep(*_, **values):\n"
        "    try:\n"
        "        print('asleep', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        f"        if {place == 'cleaning up'}:\n"
        "            print('cleaning up', flush=True)\n"
        "            time.sleep(60)\n"
        "running.sleep = sleep\n"
        f"if {place == 'arguments'}:\n"
        "    running.parse = sleep\n"
        "command = COMMANDS['info']._replace(handler='jaxemo.cli.running:sleep')\n"
        "sys.exit(running.run('study', command, []))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(number)
        if place == "cleaning up":
            assert process.stdout.readline() == "cleaning up\n"
            process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert said.startswith("jaxemo study: ")
    assert said.count("\n") == 1
