"""Small pre-trained encoders that come with the package: `small/speech`, `small/music`, `small/both`.

    embedded_weights/<kind>/   hub layout with float16 weights, pretraining.json, README.md
    embedded_weights/sources/  the copyright files of recordings that they were trained on

`tools/pretrain_small.sh` makes them; `untrained/small` has their architecture and has learnt nothing.
"""

import enum
from pathlib import Path

FOLDER = Path(__file__).parent / "embedded_weights"


class SmallKind(enum.StrEnum):
    """What a small encoder was trained on."""

    SPEECH = "speech"
    MUSIC = "music"
    BOTH = "both"


SMALL_NAMES = tuple(f"small/{kind.value}" for kind in SmallKind)


def embedded_folder(name: str) -> Path:
    """The folder of one of `SMALL_NAMES`.

    Raises:
      ValueError: This copy of the package lacks its weights.
    """
    folder = FOLDER / SmallKind(name.removeprefix("small/")).value
    if not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"{name}: {folder} has no model.safetensors; this copy of jaxemo is incomplete. Install it "
            "again, or make the weights by tools/pretrain_small.sh."
        )
    return folder
