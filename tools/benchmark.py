"""Speed, measured: prints progress to stderr and one JSON object, last, to stdout.

    python tools/benchmark.py encoder  [--threads=2 --clips=8 --seconds=4 --repeats=7]
    python tools/benchmark.py stem     [--threads=2 --clips=8 --seconds=4 --repeats=7]
    python tools/benchmark.py distance [--threads=2 --part=all --clips=100 --rows=2000 --repeats=5]
    python tools/benchmark.py embedding [--threads=2 --clips=64 --batch=16 --repeats=5]
    python tools/benchmark.py runs     [--threads=2 --method=weighted_sum --size=small --runs=12]
    python tools/benchmark.py train    [--threads=2 --clips=8 --seconds=4 --repeats=5]
    python tools/benchmark.py methods  [--threads=2 --size=base --clips=2 --seconds=4 --repeats=5]
    python tools/benchmark.py probe    [--threads=2 --size=full --peer=12 --repeats=1]
    python tools/benchmark.py frozen   [--threads=2 --clips=8 --seconds=4 --layers=2 --repeats=5]
    python tools/benchmark.py pretrain [--threads=2 --part=all --clips=4 --seconds=4 --repeats=5]

Needs jax, flax and numpy alone (`runs`, `train`, `methods` and `frozen`: jaxemo installed). Where the peers are
installed too (PyTorch, transformers and peft; scipy and fadtk; scikit-learn), both sides run in turns on the same
data and cores, PyTorch's steps in a process of their own, and `ratio` is the peer's time over ours.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.distance import add_distance_command
from benchmarks.embedding import add_embedding_command
from benchmarks.encoder import add_encoder_command
from benchmarks.frozen import add_frozen_command
from benchmarks.methods import add_methods_command
from benchmarks.pretrain import add_pretrain_command
from benchmarks.probe import add_probe_command
from benchmarks.runs import add_runs_command
from benchmarks.stem import add_stem_command
from benchmarks.train import add_train_command

from jaxemo.cli.allocation import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    add_encoder_command(commands)
    add_stem_command(commands)
    add_distance_command(commands)
    add_embedding_command(commands)
    add_runs_command(commands)
    add_probe_command(commands)
    add_train_command(commands)
    add_methods_command(commands)
    add_pretrain_command(commands)
    add_frozen_command(commands)
    arguments = parser.parse_args()
    keep_freed_memory()
    print(json.dumps(arguments.run(arguments)))


if __name__ == "__main__":
    main()
