"""Puts pre-trained encoders into the package: float16 weights, their record without paths, a card.

Command: python tools/small_encoders/pack.py --runs=DIR
where DIR/speech, DIR/music and DIR/both are folders that `jaxemo pretrain` wrote.
"""

import argparse
import json
import shutil
from pathlib import Path

import jax
import numpy as np

from jaxemo.models.checkpoints import hub_layout
from jaxemo.models.embedded import FOLDER, SmallKind
from jaxemo.models.pretrained import load_encoder

_LARGEST_BYTES = 2_000_000
# Of pretraining.json: what lies where and how it was called is of no use elsewhere.
_LEFT_OUT = ("files", "provenance")
_LICENCE = """
## Licence

The speech is by espeak-ng from texts of the project's own and, in `speech` and `both`, from recordings of
asterisk-core-sounds: Allison Smith (en, es) and June Wallack (fr), CC BY-SA 3.0; Maxim Topal (ru) and Carlo
Flora (it), CC BY 3.0. Their copyright files lie in `../sources/`. Sung voices are espeak-ng's, music is synthesised
by the project's own code (`tools/small_encoders/`). Weights that recordings under CC BY-SA took part in may be used
under CC BY-SA 3.0, the others under the package's licence.
"""


def pack(kind: SmallKind, run: Path) -> None:
    """Writes one encoder.

    Raises:
      ValueError: Its weights are larger than the package has room for.
    """
    target = FOLDER / kind.value
    encoder = load_encoder(run)
    hub_layout.write(
        target,
        config=encoder.config,
        params=jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), encoder.params),
        name=f"small/{kind.value}",
        origin=encoder.origin,
        preprocessing=hub_layout.Preprocessing(encoder.sample_rate_hz, encoder.normalisation),
    )
    size = (target / hub_layout.WeightsFormat.SAFETENSORS).stat().st_size
    if size > _LARGEST_BYTES:
        raise ValueError(f"{target}: {size} bytes of weights; expected at most {_LARGEST_BYTES}")
    about = json.loads((run / "pretraining.json").read_text())
    about = {key: about[key] for key in about if key not in _LEFT_OUT}
    folders = about["pretrain"]["folders"]
    about["pretrain"]["folders"] = ["/".join(text.split("/")[-2:]) for text in folders]
    (target / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n")
    card = (run / "README.md").read_text().partition("\n## Use")[0]
    card = card.replace(f"# {run.name}", f"# small/{kind.value}", 1)
    (target / "README.md").write_text(card + _LICENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--sources", type=Path, help="copyright files to keep beside the weights")
    arguments = parser.parse_args()
    for kind in SmallKind:
        pack(kind, arguments.runs / kind.value)
    if arguments.sources:
        shutil.copytree(arguments.sources, FOLDER / "sources", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
