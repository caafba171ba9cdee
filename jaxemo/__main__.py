"""The command `jaxemo`, also as `python -m jaxemo`: a signal is one line from the first moment on."""

import os
import signal
import sys
from types import FrameType

from jaxemo.data.stopping import SIGNALS


def main() -> int:
    """Runs one command; see `jaxemo.cli.main.main`."""
    for number in SIGNALS:
        signal.signal(number, _end)
    from jaxemo.cli.allocation import keep_freed_memory
    from jaxemo.cli.main import main as run_command

    keep_freed_memory()
    return run_command()


def _end(number: int, frame: FrameType | None) -> None:
    """Until the command knows what there is to save."""
    word, code = SIGNALS[signal.Signals(number)]
    print(f"jaxemo: {word} while nothing was under way", file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
