"""The command `jaxemo`, also as `python -m jaxemo`: a signal is one line from the first moment on."""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs one command; see `jaxemo.cli.main.main`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from jaxemo.cli.main import main as run_command

    return run_command()


def _end(number: int, frame: FrameType | None) -> None:
    """Until the command knows what there is to save."""
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
    print(f"jaxemo: {words[signal.Signals(number)]} while nothing was under way", file=sys.stderr)
    sys.stderr.flush()
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
