"""Time and peak memory of opening a corpus of many clips: killed half way, gone on with, and opened again.

    python tools/measure_corpus.py [--clips=100000] [--seconds=0.3]

The clips are noise of their own, in folders of a thousand, with a manifest. Three processes open them one
after the other and look at every sample: the first is killed when it has read half of the files, the second
goes on, and the third finds everything in the cache and reads no file. Then `jaxemo prepare` is run, its
start, folds and page included. Prints one JSON object; resident memory counts the pages of the memory-mapped
cache that were looked at.
"""

import argparse
import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful")
CLIPS_PER_SPEAKER = 100


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--clips", type=int, default=100_000)
    arguments.add_argument("--seconds", type=float, default=0.3)
    arguments.add_argument("--open", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments.add_argument("--kill-after", type=int, default=0, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.open:
        print(json.dumps(_open(Path(options.open), options.kill_after)))
        return
    with tempfile.TemporaryDirectory(prefix="jaxemo-corpus-") as name:
        _write_corpus(Path(name), options.clips, options.seconds)
        killed = _start(name, f"--kill-after={options.clips // 2}")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        gone_on, again = (_report(_start(name)) for _ in range(2))
        print(json.dumps({"gone_on": gone_on, "again": again}), file=sys.stderr)
        prepared = _prepare(Path(name))
    result = {"clips": options.clips, "clip_seconds": options.seconds, "cores": os.cpu_count()}
    result |= {"load_average": os.getloadavg()[0], "gone_on": gone_on, "again": again}
    result["prepare"] = prepared
    print(json.dumps(result))


def _write_corpus(folder: Path, num_clips: int, seconds: float) -> None:
    """Each clip is another stretch of one noise, so that no two files have the same bytes."""
    size = round(seconds * RATE_HZ)
    noise = np.random.default_rng(0).normal(0, 0.1, num_clips + size) * 2**15
    samples = noise.astype(np.int16)
    header = _header(samples[:size])
    rows = []
    for clip in range(num_clips):
        name = f"audio/{clip // 1000:05}/{clip:07}.wav"
        if clip % 1000 == 0:
            (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(header + samples[clip : clip + size].tobytes())
        emotion, speaker = EMOTIONS[clip % len(EMOTIONS)], f"s{clip // CLIPS_PER_SPEAKER:05}"
        rows.append((name, emotion, ("speech", "music")[clip % 2], speaker))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "emotion", "domain", "speaker"), *rows])


def _header(samples: np.ndarray) -> bytes:
    """What stands before the samples in a WAV file of as many."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV")
    return file.getvalue()[: -samples.nbytes]


def _start(folder: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, f"--open={folder}", *flags]
    return subprocess.run(command, capture_output=True, text=True)


def _report(done: subprocess.CompletedProcess[str]) -> dict[str, float]:
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout)


def _prepare(folder: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "jaxemo",
        "prepare",
        "--config=demo",
        f"--workdir={folder / 'run'}",
    ]
    command += [
        "--config.corpus.name=manifest",
        f"--config.corpus.manifest={folder / 'manifest.csv'}",
    ]
    command += [f"--config.cache_dir={folder / 'cache'}"]
    started = time.monotonic()
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((folder / "said.txt").read_text()[-3000:])
    return {"seconds": round(time.monotonic() - started, 2), "peak_gigabytes": _gigabytes(usage)}


def _gigabytes(usage: resource.struct_rusage) -> float:
    return round(usage.ru_maxrss * 1024 / 1e9, 3)


def _open(folder: Path, kill_after: int) -> dict[str, float]:
    """Reads the manifest, opens the store and looks at every waveform, as an encoder would."""
    from jaxemo.data.clip_store import open_clip_store
    from jaxemo.data.corpora.manifest import read_manifest

    num_read = 0

    def count(done: int, total: int) -> None:
        nonlocal num_read
        num_read = done
        if done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    started = time.monotonic()
    corpus = read_manifest(folder / "manifest.csv")
    listed = time.monotonic()
    store = open_clip_store(
        corpus.utterances, sample_rate_hz=RATE_HZ, cache_dir=folder / "cache", progress=count
    )
    opened = time.monotonic()
    power = sum(float(np.square(store.waveform(clip)).sum()) for clip in range(len(store)))
    assert power > 0
    return {
        "files_read": num_read,
        "list_seconds": round(listed - started, 2),
        "open_seconds": round(opened - listed, 2),
        "iterate_seconds": round(time.monotonic() - opened, 2),
        "open_files": len(os.listdir("/proc/self/fd")),
        "cpu_seconds": round(time.process_time(), 2),
        "peak_gigabytes": _gigabytes(resource.getrusage(resource.RUSAGE_SELF)),
    }


if __name__ == "__main__":
    main()
