"""The flags of a comparison of two folders, which `jaxemo fad` takes in place of a config."""

from pathlib import Path
from typing import Any

from jaxemo.cli.command import ArgumentFault, Flag

FOLDERS = (
    Flag(
        "reference",
        "DIR|FILE.npz",
        "in place of --config: a folder of audio without labels, or means and covariances\n"
        "as fadtk publishes them",
        read=Path,
    ),
    Flag(
        "candidate",
        "DIR",
        "the folder to compare with it; its files are scored one by one",
        read=Path,
    ),
    Flag("encoder", "SOURCE", "a hub id, a folder in hub layout, small/both or untrained/speech"),
    Flag("crop_seconds", "S", "cuts longer clips to their middle (default: whole clips)", float),
    Flag("reference_model", "NAME", "the encoder's name in FILE.npz, if not its own"),
    Flag(
        "save_moments",
        "FILE.npz",
        "keeps means and covariances of a reference folder, as fadtk reads them",
        read=Path,
    ),
)


def check_folders(values: dict[str, Any]) -> None:
    """A comparison of folders has no config, and needs both folders and an encoder."""
    given = [flag.name for flag in FOLDERS if values[flag.name] is not None]
    if not given and values["config"] is None:
        raise ArgumentFault("needs --config=FILE.py, or --reference, --candidate and --encoder")
    if given and values["config"] is not None:
        names = ", ".join(f"--{name}" for name in given)
        raise ArgumentFault(f"takes either --config or folders; {names} came with --config")
    missing = [f"--{n}" for n in ("reference", "candidate", "encoder") if n not in given]
    if given and missing:
        raise ArgumentFault(f"a comparison of folders needs {' and '.join(missing)} too")
