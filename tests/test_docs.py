"""What the documents name is there: files, commands, flags and config keys."""

import re
from pathlib import Path

import pytest

from jaxemo.cli.config_flags import shipped_configs
from jaxemo.cli.main import COMMANDS, main
from jaxemo.studies.config import Settings
from jaxemo.studies.ranges import Block

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def keys_of(block, prefix=""):
    for name, value in block.items():
        yield f"{prefix}{name}"
        if isinstance(value, Block):
            yield from keys_of(value, f"{prefix}{name}.")


def unknown(pattern, text, known):
    return [found for found in re.findall(pattern, text) if found not in known]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    missing = [link for link in links if not ((ROOT / name).parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_paths_in_code_quotes_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    pattern = r"`((?:jaxemo|tests|tools|configs|docs)/[\w./]+)`"
    assert not [
        path
        for path in re.findall(pattern, text)
        if not (ROOT / path).exists() and "NAME" not in path
    ]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_configs_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not unknown(r"^ +jaxemo ([a-z]\w*)", text.replace("jaxemo COMMAND", ""), set(COMMANDS))
    shipped = {*shipped_configs(), "NAME", "FILE"}
    assert not unknown(r"--config=(\w+)(?=\s)", text, shipped)


@pytest.mark.parametrize("name", NAMES)
def test_config_keys_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    known = set(keys_of(Settings()))
    assert not unknown(r"(?:--|`)config\.([a-z_.0-9]+[a-z0-9])", text, known)


def test_the_readme_is_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1000


def test_the_table_of_corpora_is_what_the_command_prints(capsys):
    assert main(["corpora", "--format=markdown"]) == 0
    text = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table -->")[2].partition("<!-- end of the table -->")[0]
    assert table.strip() == capsys.readouterr().out.strip()
