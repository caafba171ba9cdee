"""Writes the golden text of every config: all its values, one line per key.

A change of a default shows in the difference of these texts, once per config that it reaches.

Command: python tools/write_config_texts.py
Result:  tests/golden_configs/<name>.txt, compared by tests/test_config_texts.py
"""

import sys
from pathlib import Path

from jaxemo.cli.config_flags import read_config, shipped_configs
from jaxemo.studies.config import Settings
from jaxemo.studies.ranges import Block, read_block

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden_configs"


def main() -> int:
    """Writes all texts, and removes those of configs that are gone."""
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.glob("*.txt"):
        path.unlink()
    for name in shipped_configs():
        (GOLDEN / f"{name}.txt").write_text(config_text(name), encoding="utf-8")
    print(f"{len(shipped_configs())} texts in {GOLDEN}")
    return 0


def config_text(name: str) -> str:
    """`config.block.key = value` for every key, in the order of `Settings` in `jaxemo/studies/config.py`.

    Values are not checked: a config may leave to its user what it cannot know.
    """
    config, _ = read_config([f"--config={name}"])
    settings = read_block(Settings, config, name="config", faults={})
    return "\n".join(_lines(settings, "config")) + "\n"


def _lines(block: Block, name: str) -> list[str]:
    lines = []
    for key, value in block.items():
        full = f"{name}.{key}"
        lines += _lines(value, full) if isinstance(value, Block) else [f"{full} = {value!r}"]
    return lines


if __name__ == "__main__":
    sys.exit(main())
