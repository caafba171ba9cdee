"""tools/check.py against small packages that break its rules."""

import check
import pytest


@pytest.fixture
def findings(tmp_path, monkeypatch):
    """A function from files, by path, to what one rule finds in them."""
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "PACKAGE", tmp_path / "jaxemo")

    def of(rule, files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        check.tree_of.cache_clear()
        return list(rule())

    return of


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("data/a.py", "import jaxemo.models.encoder", "data/ must not import models/"),
        ("data/a.py", "from jaxemo import cli", "data/ must not import cli/"),
        ("report/a.py", "from jaxemo.studies.config import Settings", "must not import studies/"),
        ("peft/a.py", "def f():\n    from jaxemo.data import audio", "must not import data/"),
        ("data/a.py", "HANDLER = 'jaxemo.cli.main:main'", "data/ must not import cli/"),
        ("data/a.py", "from .audio import read", "a.py:1 relative import"),
        ("cli/a.py", "HANDLER = 'jaxemo.cli.main:absent'", "nothing is called 'jaxemo.cli.main:ab"),
        ("cli/a.py", "HOME = 'jaxemo.cli.absent'", "nothing is called 'jaxemo.cli.absent'"),
        ("other/a.py", "", "no room is called other/"),
        ("loose.py", "", "a file beside the rooms"),
        ("__init__.py", "from jaxemo.models import encoder", "imports models before it is used"),
    ],
)
def test_imports_against_the_order_are_found(name, text, words, findings):
    files = {"jaxemo/cli/main.py": "def main(): pass", f"jaxemo/{name}": text}
    [finding] = findings(check.imports, files)
    assert words in finding


def test_imports_along_the_order_are_fine(findings):
    files = {
        "jaxemo/cli/main.py": "from jaxemo.data import a\ndef main(): pass",
        "jaxemo/cli/table.py": "HANDLER = 'jaxemo.cli.main:main'",
        "jaxemo/figures.py": "def draw():\n    from jaxemo.report import charts",
        "jaxemo/report/charts.py": "import jaxemo.results.file",
    }
    assert findings(check.imports, files) == []


CALLED_BY_TESTS_ALONE = [
    "def lonely(): pass",
    "def lonely(): return lonely()",
    "class lonely: pass",
    "lonely = 3",
    "class Kept:\n    def lonely(self): pass\nprint(Kept)",
]


@pytest.mark.parametrize("text", CALLED_BY_TESTS_ALONE)
def test_what_only_tests_call_is_found(text, findings):
    files = {
        "jaxemo/data/a.py": text,
        "jaxemo/data/__init__.py": "from jaxemo.data.a import lonely\n__all__ = ['lonely']",
        "tests/test_a.py": "from jaxemo.data.a import lonely\nlonely()",
    }
    [finding] = findings(check.uncalled, files)
    assert "lonely: nothing but tests calls it" in finding


@pytest.mark.parametrize(
    "caller",
    [
        "from jaxemo.data import a\na.lonely",
        "from jaxemo.data.a import lonely\nprint(lonely)",
        "from jaxemo.data.a import lonely as other\nprint(other)",
        "print('jaxemo.data.a:lonely')",
    ],
)
@pytest.mark.parametrize("text", CALLED_BY_TESTS_ALONE)
def test_what_something_else_names_is_fine(text, caller, findings):
    files = {"jaxemo/data/a.py": text, "tools/b.py": caller}
    assert findings(check.uncalled, files) == []


def test_long_files_and_functions_are_found(findings):
    long_function = "def f():\n" + "    pass\n" * check.MAX_FUNCTION_LINES
    files = {
        "jaxemo/data/a.py": long_function,
        "tests/test_a.py": "\n" * (check.MAX_FILE_LINES + 1),
        "tools/b.py": "\n" * check.MAX_FILE_LINES,
    }
    function, file = findings(check.sizes, files)
    assert "a.py:1 f: 61 lines" in function
    assert "test_a.py: 401 lines" in file
