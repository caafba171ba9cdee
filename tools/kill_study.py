"""Kills a small study at random moments until it has ended, and compares it with one left alone.

    python tools/kill_study.py [--kills=20] [--signal=KILL] [--seed=0] [--methods=weighted_sum,lora]

The study is the smallest that has all three parts (tests/tiny_config.py), saved every second of
training. Whenever it has ended before its next kill, it is compared and begun anew. Prints one JSON object: how
often it was killed, in which stage, and what differs at the end in results.json (but for provenance), in
the training curves and in the models' records; exit code 1 if anything does.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--methods", default="weighted_sum,lora")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="jaxemo-kill-") as name:
        folder = Path(name)
        seconds = _run(folder / "alone", options.methods)
        moments = random.Random(options.seed)
        stages: Counter[str] = Counter()
        differences: Counter[str] = Counter()
        while stages.total() < options.kills:
            process = _start(folder / "killed", options.methods)
            try:
                process.wait(timeout=moments.uniform(1, 0.4 * seconds))
                differences.update(_differences(folder))
                shutil.rmtree(folder / "killed")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.Signals[f"SIG{options.signal}"])
                process.wait()
                stages[_stage(folder / "killed")] += 1
        _run(folder / "killed", options.methods)
        differences.update(_differences(folder))
        print(json.dumps({"kills": dict(stages), "seconds": round(seconds), **differences}))
        raise SystemExit(int(any(differences.values())))


def _command(folder: Path, methods: str) -> list[str]:
    return [
        *(sys.executable, "-m", "jaxemo", "study"),
        f"--config={ROOT / 'tests' / 'tiny_config.py'}",
        "--config.training.save_seconds=1.0",
        f"--config.transfer.methods={methods},",
        f"--config.cache_dir={folder / 'cache'}",
        f"--workdir={folder / 'work'}",
    ]


def _start(folder: Path, methods: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    log = (folder / "log.txt").open("ab")
    return subprocess.Popen(_command(folder, methods), stdout=log, stderr=log, cwd=ROOT)


def _run(folder: Path, methods: str) -> float:
    started = time.monotonic()
    if _start(folder, methods).wait() != 0:
        raise SystemExit((folder / "log.txt").read_text()[-3000:])
    return time.monotonic() - started


def _stage(folder: Path) -> str:
    """How far the study had come."""
    work = folder / "work"
    if (work / "report.html").exists():
        return "ended"
    if any(work.glob("models/**/record")):
        return "models"
    if any(work.glob("unfinished/*/*")):
        return "training"
    return "before training"


def _differences(folder: Path) -> dict[str, int]:
    alone, killed = (folder / name / "work" for name in ("alone", "killed"))
    results = [json.loads((work / "results.json").read_text()) for work in (alone, killed)]
    sections = [name for name in results[0] if name != "provenance"]
    rows = [
        (one, other)
        for name in sections
        for one, other in zip(_rows(results[0][name]), _rows(results[1][name]), strict=True)
    ]
    curves = [_curves(work) for work in (alone, killed)]
    # A command killed once it had written everything is a new one the next time, with a run of its own.
    epochs = [{line.partition(", ")[2] for line in lines} for lines in curves]
    models = [
        # A model that was written again has another number, and must have the same record.
        {
            path.parents[2].relative_to(work): path.read_text()
            for path in work.glob("models/**/record/metadata")
        }
        for work in (alone, killed)
    ]
    return {
        "result_rows_that_differ": sum(one != other for one, other in rows),
        "curve_lines_that_differ": len(epochs[0] ^ epochs[1]),
        "curve_lines_twice": len(curves[1]) - len(set(curves[1])),
        "models_that_differ": sum(models[0].get(path) != text for path, text in models[1].items()),
    }


def _rows(section: object) -> list[object]:
    return section if isinstance(section, list) else [section]


def _curves(work: Path) -> list[str]:
    """Lines that begin with the id of the command's run, without what the clock says."""
    lines = (work / "logs" / "curves.jsonl").read_text().splitlines()
    figures = [json.loads(line) for line in lines]
    timed = ("seconds", "data_wait")
    return [json.dumps({k: v for k, v in line.items() if k not in timed}) for line in figures]


if __name__ == "__main__":
    main()
