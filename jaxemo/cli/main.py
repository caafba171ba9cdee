"""The command `jaxemo`: parses, calls, prints. Heavy imports wait until the arguments are known to be good."""

import os
import sys
from typing import NamedTuple

_CONFIG_FLAGS = """  --config=FILE.py[:argument]   experiment (see configs/); required
  --config.KEY=VALUE            changes one value, for example --config.audio.crop_seconds=2.0
  --workdir=DIR                 where outputs go (default: runs/<name of the config file>)"""

_CHECKPOINT_FLAGS = """  --checkpoint=DIR              a folder that `jaxemo train` or `jaxemo transfer` wrote; required
  --encoder=SOURCE              where the base encoder is now, if not where the checkpoint says"""


_FOLDER_FLAGS = """or, without --config and without labels, any two folders of audio:
  --reference=DIR|FILE.npz      a folder, or means and covariances as fadtk publishes them
  --candidate=DIR               the folder to compare with it; its files are scored one by one
  --encoder=SOURCE              a hub id, a folder in hub layout, untrained/speech or untrained/music
  --crop_seconds=S              cuts longer clips to their middle (default: whole clips)
  --reference_model=NAME        the encoder's name in FILE.npz, if not its own
  --save_moments=FILE.npz       keeps means and covariances of a reference folder, as fadtk reads them
  --workdir=DIR                 where outputs go (default: nothing is written)"""


class Verb(NamedTuple):
    """What `jaxemo VERB --help` says; `flags` are those it accepts."""

    summary: str
    reads: str
    writes: str
    needs: str
    usage: str
    flags: str


_STUDY_WRITES = (
    """WORKDIR/results.json (figures with intervals, n and provenance), WORKDIR/report.html"""
)

VERBS = {
    "study": Verb(
        "all three studies (layers, transfer, similarity) and the report",
        "the corpus and encoders that the config names",
        f"{_STUDY_WRITES}, WORKDIR/models/ (checkpoints), WORKDIR/logs/ (JSONL, TensorBoard)",
        "a labelled corpus with speech and music by at least three groups of speakers",
        "jaxemo study --config=configs/demo.py --workdir=runs/demo",
        _CONFIG_FLAGS,
    ),
    "probe": Verb(
        "study 1: a linear probe on every layer, in speech and in music",
        "the corpus and encoders that the config names",
        _STUDY_WRITES,
        "a labelled corpus of speech, music or both",
        "jaxemo probe --config=configs/demo.py",
        _CONFIG_FLAGS,
    ),
    "transfer": Verb(
        "study 2: two-stage fine-tuning across domains against target-only training",
        "the corpus and encoders that the config names",
        f"{_STUDY_WRITES}, WORKDIR/models/ (checkpoints), WORKDIR/logs/ (JSONL, TensorBoard)",
        "a labelled corpus with speech and music",
        "jaxemo transfer --config=configs/demo.py --config.transfer.methods=\"('lora',)\"",
        _CONFIG_FLAGS,
    ),
    "fad": Verb(
        "study 3: Frechet Audio Distance between speech and music by emotion, or between two folders",
        "the corpus and encoders that the config names; or two folders (wav, flac, mp3, ogg)",
        f"{_STUDY_WRITES}; for folders WORKDIR/results.json, WORKDIR/file_scores.csv",
        "a labelled corpus with speech and music; or two folders",
        "jaxemo fad --reference=DIR --candidate=DIR --encoder=m-a-p/MERT-v1-95M",
        f"{_CONFIG_FLAGS}\n\n{_FOLDER_FLAGS}",
    ),
    "train": Verb(
        "trains one model on one fold (config.train) and keeps it",
        "the corpus that the config names and the encoder config.train.encoder",
        "WORKDIR/checkpoint/ (orbax), WORKDIR/results.json (held-out figures), WORKDIR/logs/",
        "a labelled corpus by at least three groups of speakers",
        "jaxemo train --config=configs/demo.py --config.train.method=lora --workdir=runs/lora",
        _CONFIG_FLAGS,
    ),
    "evaluate": Verb(
        "restores a checkpoint and scores it on speakers that it has not seen",
        "the checkpoint; the corpus of --config, or else the corpus that the model was trained on",
        "figures on stdout; with --workdir, WORKDIR/results.json too",
        "a corpus with the checkpoint's emotions; the base encoder at its recorded source",
        "jaxemo evaluate --checkpoint=runs/lora/checkpoint",
        f"{_CHECKPOINT_FLAGS}\n"
        + _CONFIG_FLAGS.replace("required", "optional").replace(
            "runs/<name of the config file>", "nothing is written"
        ),
    ),
    "predict": Verb(
        "prints one JSON line a file: emotion, probabilities, duration",
        "the checkpoint and the audio files (wav, flac, mp3, ogg; any rate, any channels)",
        "JSON lines on stdout",
        "the base encoder at its recorded source",
        "jaxemo predict --checkpoint=runs/lora/checkpoint FILE...",
        _CHECKPOINT_FLAGS,
    ),
    "embed": Verb(
        "layerwise embeddings of a corpus in files for numpy, pandas and datasets (config.embed)",
        "the corpus and encoders that the config names; a killed run goes on where it stopped",
        "WORKDIR/<encoder>/pooled.npy, clips.parquet, about.json; frames.npy where frames are kept",
        "a corpus; labels may be of one domain, speakers may be few",
        "jaxemo embed --config=configs/demo.py --config.embed.frames=frames --workdir=runs/embeddings",
        _CONFIG_FLAGS,
    ),
    "prepare": Verb(
        "decodes and checks a corpus: clips, speakers, folds, leaks, unusable files",
        "the corpus that the config names",
        "the decoded-audio cache; WORKDIR/results.json (corpus, folds, left-out files)",
        "nothing but the corpus",
        "jaxemo prepare --config=configs/ravdess_quick.py --config.corpus.audio_dir=DIR",
        _CONFIG_FLAGS,
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0, or 2 after one clear line about what was wrong with the input."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from jaxemo import __version__

        print(__version__)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        return _complain(f"unknown command {verb!r}; expected one of {', '.join(VERBS)}")
    if any(argument in ("-h", "--help") for argument in rest):
        print(_help(verb))
        return 0
    # XLA spreads LAPACK's work over the cores itself; OpenBLAS's own threads, made when numpy is
    # imported, would fight with it for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from jaxemo.cli.arguments import ArgumentFault, parse

    try:
        parsed = parse(verb, rest)
    except ArgumentFault as fault:
        return _complain(f"{verb}: {fault}")
    from jaxemo.cli.handlers import BadInput, run

    try:
        run(verb, parsed)
    except BadInput as fault:
        return _complain(f"{verb}: {fault}")
    return 0


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "jaxemo: what emotional speech and emotional music share, by layer, transfer and distance.",
            "",
            "usage: jaxemo COMMAND [--config=configs/X.py] [--config.key=value ...] [--workdir=DIR]",
            "",
            *lines,
            "",
            "`jaxemo COMMAND --help` says what a command reads, writes and needs.",
        ]
    )


def _help(name: str) -> str:
    verb = VERBS[name]
    return "\n".join(
        [
            f"jaxemo {name}: {verb.summary}",
            "",
            f"reads   {verb.reads}",
            f"writes  {verb.writes}",
            f"needs   {verb.needs}",
            "",
            verb.flags,
            "",
            f"example: {verb.usage}",
        ]
    )


def _complain(message: str) -> int:
    print(f"jaxemo {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
