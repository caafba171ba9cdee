"""The command `jaxemo`: one table of commands, from which help, flags, errors and calls are made.

Heavy imports wait until the arguments are known to be good.
"""

import os
import sys
from pathlib import Path

from jaxemo.cli.command import (
    Command,
    Flag,
    Positional,
    help_of,
    nearest,
    overview,
    shard,
    size_in_bytes,
    whole_number,
)
from jaxemo.cli.folder_flags import FOLDERS, check_folders

_CONFIG = Flag(
    "config",
    "FILE.py|NAME[:ARG]",
    "the experiment: a config file, or the name of one that comes with the package\n"
    "(`jaxemo config` lists them)",
    required=True,
)
_OPTIONAL_CONFIG = _CONFIG._replace(required=False)
_WORKDIR = Flag(
    "workdir",
    "DIR",
    "where outputs go (default: runs/<name of the config>)",
    read=Path,
    default="runs/{config}",
)
_REPLACE = Flag(
    "replace",
    "",
    "begins anew where WORKDIR holds results that do not go with these (the old file is\n"
    "kept as results.json.old)",
    default=False,
)
_SAMPLES = Flag(
    "samples",
    "N",
    "at most so many clips to hear on the page; 0 keeps the corpus's audio out of it (default: 16)",
    read=whole_number,
    default=16,
)
_WRITING_NOTHING = Flag(
    "workdir", "DIR", "where outputs go (default: nothing is written)", read=Path
)
_CHECKPOINT = (
    Flag(
        "checkpoint",
        "DIR",
        "a folder that `jaxemo train` or `jaxemo transfer` wrote",
        read=Path,
        required=True,
    ),
    Flag("encoder", "SOURCE", "where the base encoder is now, if not where the checkpoint says"),
)
_MODEL = (
    _CHECKPOINT[0]._replace(
        metavar="DIR|HUB_ID",
        help="a folder that `jaxemo train` or `jaxemo transfer` wrote; or a published emotion model, by\n"
        "its folder or hub id (wav2vec 2.0, HuBERT, WavLM or data2vec with a classification head)",
        read=str,
    ),
    _CHECKPOINT[1],
)
_CACHE_DIR = Flag(
    "cache_dir",
    "DIR",
    "the cache folder (default: $JAXEMO_CACHE, else jaxemo in the user's cache folder)",
    read=Path,
)

_STUDY_WRITES = (
    "WORKDIR/results.json (figures with intervals, n and provenance), WORKDIR/report.html"
)
_TRAINING_WRITES = f"{_STUDY_WRITES}, WORKDIR/models/ (checkpoints), WORKDIR/logs/"

COMMANDS: dict[str, Command] = {
    "study": Command(
        summary="all three studies (layers, transfer, similarity) and the report",
        reads="the corpus and encoders that the config names",
        writes=_TRAINING_WRITES,
        needs="a labelled corpus with speech and music by at least three groups of speakers",
        example="jaxemo study --config=demo --workdir=runs/demo",
        handler="jaxemo.cli.handlers:study",
        flags=(_CONFIG, _WORKDIR, _REPLACE),
    ),
    "probe": Command(
        summary="study 1: a linear probe on every layer, in speech and in music",
        reads="the corpus and encoders that the config names",
        writes=_STUDY_WRITES,
        needs="a labelled corpus of speech, music or both",
        example="jaxemo probe --config=demo",
        handler="jaxemo.cli.handlers:probe",
        flags=(_CONFIG, _WORKDIR, _REPLACE),
    ),
    "transfer": Command(
        summary="study 2: two-stage fine-tuning across domains against target-only training",
        reads="the corpus and encoders that the config names",
        writes=_TRAINING_WRITES,
        needs="a labelled corpus with speech and music",
        example="jaxemo transfer --config=demo --config.transfer.methods=lora,full",
        handler="jaxemo.cli.handlers:transfer",
        flags=(_CONFIG, _WORKDIR, _REPLACE),
    ),
    "fad": Command(
        summary="study 3: Frechet Audio Distance by emotion, or between any two folders",
        reads="the corpus and encoders that the config names; or two folders of audio",
        writes=f"{_STUDY_WRITES}; for folders WORKDIR/results.json, WORKDIR/file_scores.csv",
        needs="a labelled corpus with speech and music; or two folders (wav, flac, mp3, ogg)",
        example="jaxemo fad --reference=DIR --candidate=DIR --encoder=m-a-p/MERT-v1-95M",
        handler="jaxemo.cli.handlers:fad",
        flags=(
            _OPTIONAL_CONFIG,
            _WORKDIR._replace(
                help="where outputs go (default: runs/<name of the config>; for folders nothing\n"
                "is written)"
            ),
            _REPLACE,
            *FOLDERS,
        ),
        check=check_folders,
    ),
    "train": Command(
        summary="trains one model on one fold (config.train) and keeps it",
        reads="the corpus that the config names and the encoder config.train.encoder",
        writes="WORKDIR/checkpoint/, WORKDIR/results.json (held-out figures), WORKDIR/logs/",
        needs="a labelled corpus by at least three groups of speakers",
        example="jaxemo train --config=demo --config.train.method=lora --workdir=runs/lora",
        handler="jaxemo.cli.training:train",
        flags=(
            _CONFIG,
            _WORKDIR,
            _REPLACE,
            Flag(
                "explain",
                "",
                "trains nothing: prints where every parameter lies and by which rule, and the memory and\n"
                "messages of a compiled step",
                default=False,
            ),
        ),
    ),
    "sweep": Command(
        summary="trains one model (config.train) at each point of a grid of settings",
        reads="what `jaxemo train` reads",
        writes="WORKDIR/points/*/ (checkpoint/, results.json), WORKDIR/results.json and report.html of all",
        needs="what `jaxemo train` needs; points that differ in seed, fold and learning rates alone are one program",
        example="jaxemo sweep --config=demo --grid.lora.rank=4,8,16 --grid.seed=0,1,2 --workdir=runs/rank",
        handler="jaxemo.cli.training:sweep",
        flags=(
            _CONFIG,
            Flag(
                "grid",
                ".KEY=VALUE,...",
                "the values of a config key: --grid.lora.rank=4,8,16 --grid.seed=0,1,2; the grid is\n"
                "all combinations",
                required=True,
            ),
            Flag(
                "shard",
                "I/N",
                "trains the I-th of N shares of the points, for an array job (default: 1/1)",
                read=shard,
                default=(1, 1),
            ),
            _WORKDIR,
        ),
    ),
    "evaluate": Command(
        summary="restores a checkpoint and scores it on speakers that it has not seen",
        reads="the checkpoint; the corpus of --config, or else the one that it was trained on",
        writes="figures on stdout; with --workdir, WORKDIR/results.json too",
        needs="a corpus with the checkpoint's emotions, ratings or tags; the base encoder at its recorded source",
        example="jaxemo evaluate --checkpoint=runs/lora/checkpoint",
        handler="jaxemo.cli.handlers:evaluate",
        flags=(*_MODEL, _OPTIONAL_CONFIG, _WRITING_NOTHING, _REPLACE),
    ),
    "predict": Command(
        summary="answers for files: emotion and calibrated probabilities, ratings or tags; whole, and by windows",
        reads="the checkpoint and the audio files (wav, flac, mp3, ogg; any rate, any channels)",
        writes="JSON lines or a table on stdout, as they come; unusable files are named in it and at the\n"
        "        end, with exit code 2",
        needs="the base encoder at its recorded source",
        example="jaxemo predict --checkpoint=superb/wav2vec2-base-superb-er FILE...",
        handler="jaxemo.cli.predicting:predict",
        flags=(
            *_MODEL,
            Flag(
                "format",
                "FORMAT",
                "jsonl: a JSON object per line (default); csv: a row per file and window",
                default="jsonl",
                choices=("jsonl", "csv"),
            ),
            Flag(
                "window_seconds", "S", "answers consecutive windows of this length too", read=float
            ),
        ),
        positional=Positional(
            "files", "audio files, or folders of them", missing="needs at least one audio file"
        ),
    ),
    "export": Command(
        summary="writes a checkpoint's encoder in hub layout, its adaptation merged, or the adapter for peft",
        reads="the checkpoint",
        writes="WORKDIR/config.json, model.safetensors (peft: adapter_config.json, "
        "adapter_model.safetensors), head.safetensors, README.md (model card)",
        needs="a method that can be merged (all but adapters and prefixes), for peft LoRA, DoRA or (IA)^3; "
        "the base encoder",
        example="jaxemo export --checkpoint=runs/lora/checkpoint --workdir=exported",
        handler="jaxemo.cli.handlers:export",
        flags=(
            *_CHECKPOINT,
            Flag(
                "format",
                "FORMAT",
                "hub: merged weights (default); peft: the adapter alone",
                default="hub",
                choices=("hub", "peft"),
            ),
            Flag("workdir", "DIR", "the folder to write", read=Path, required=True),
        ),
    ),
    "pretrain": Command(
        summary="trains an encoder on audio without labels, from random weights or from any encoder",
        reads="the folders of config.pretrain; a killed run goes on from its last saved step",
        writes="WORKDIR/config.json, model.safetensors, pretraining.json, README.md, state/",
        needs="two audio files or more that the config's corpus does not evaluate on",
        example="jaxemo pretrain --config=demo --config.pretrain.folders=DIR --workdir=runs/speech",
        handler="jaxemo.cli.handlers:pretrain",
        flags=(
            _CONFIG,
            _WORKDIR,
            _REPLACE._replace(help="begins anew where WORKDIR holds the state of another run"),
        ),
    ),
    "embed": Command(
        summary="layerwise embeddings of a corpus in files for numpy, pandas and datasets",
        reads="the corpus and encoders that the config names; a killed run goes on where it stopped",
        writes="WORKDIR/<encoder>/pooled.npy, clips.parquet, about.json; frames.npy if kept",
        needs="a corpus; labels may be of one domain, speakers may be few",
        example="jaxemo embed --config=demo --config.embed.frames=frames --workdir=runs/embeddings",
        handler="jaxemo.cli.handlers:embed",
        flags=(_CONFIG, _WORKDIR),
    ),
    "prepare": Command(
        summary="decodes and checks a corpus: clips, speakers, folds, leaks, unusable files",
        reads="the corpus that the config names",
        writes="the decoded-audio cache; WORKDIR/results.json (corpus, folds, left-out files); WORKDIR/corpus.html\n"
        "        (rates, lengths, levels, licence, clips to hear)",
        needs="nothing but the corpus",
        example="jaxemo prepare --config=ravdess_quick --config.corpus.audio_dir=DIR",
        handler="jaxemo.cli.preparing:prepare",
        flags=(_CONFIG, _WORKDIR, _REPLACE, _SAMPLES),
    ),
    "report": Command(
        summary="draws the report again, of one results file or of several side by side",
        reads="results.json files that the studies wrote",
        writes="WORKDIR/report.html, and its tables and figures as files",
        needs="no audio, no model and no network",
        example="jaxemo report runs/a/results.json runs/b/results.json --workdir=runs/both",
        handler="jaxemo.cli.housekeeping:report",
        flags=(Flag("workdir", "DIR", "the folder to write", read=Path, required=True),),
        positional=Positional(
            "results", "results.json files", missing="needs at least one results.json"
        ),
    ),
    "config": Command(
        summary="lists the configs that come with the package, or prints one to start from",
        reads="nothing",
        writes="the config's text on stdout",
        needs="nothing",
        example="jaxemo config demo > my_config.py",
        handler="jaxemo.cli.housekeeping:config",
        positional=Positional("names", "one config's name (default: lists them)", most=1),
    ),
    "corpora": Command(
        summary="lists the published corpora that can be read; one with its labels, and what a folder holds",
        reads="nothing; with --audio_dir the names and tables in a folder, no audio",
        writes="stdout",
        needs="nothing",
        example="jaxemo corpora crema_d --audio_dir=DIR",
        handler="jaxemo.cli.corpora:corpora",
        flags=(
            Flag("audio_dir", "DIR", "scans the folder of the corpus", read=Path),
            Flag(
                "format",
                "FORMAT",
                "of the list: text or markdown (default: text)",
                default="text",
                choices=("text", "markdown"),
            ),
        ),
        positional=Positional("names", "one corpus's name (default: lists them)", most=1),
    ),
    "info": Command(
        summary="versions, devices, caches, and what is installed of the extras",
        reads="the installed packages and the cache folder",
        writes="stdout",
        needs="nothing",
        example="jaxemo info --json",
        handler="jaxemo.cli.housekeeping:info",
        flags=(Flag("json", "", "one JSON object, for programs", default=False), _CACHE_DIR),
    ),
    "cache": Command(
        summary="lists what the cache folder holds; removes the oldest of it, or one kind",
        reads="the cache folder",
        writes="stdout; with --prune or --clear it deletes, and asks nothing",
        needs="nothing",
        example="jaxemo cache --prune=10GB",
        handler="jaxemo.cli.housekeeping:cache",
        flags=(
            Flag(
                "prune",
                "SIZE",
                "removes what was not used for longest until the rest is at most this: 10GB, 500MB",
                read=size_in_bytes,
            ),
            Flag(
                "clear",
                "KIND",
                "removes all of one kind: audio, embeddings, programs, synthetic, unpacked, or all",
                choices=("audio", "embeddings", "programs", "synthetic", "unpacked", "all"),
            ),
            _CACHE_DIR,
        ),
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
      0; or, after one line about it on stderr, 2 for input that cannot be used, 1 for a fault of
      jaxemo itself, 130 and 143 when it was interrupted or terminated.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(COMMANDS))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from jaxemo import __version__

        print(__version__)
        return 0
    name, *tokens = arguments
    if name not in COMMANDS:
        return _complain(f"unknown command {name!r}; {_expected_commands(name)}")
    if any(token in ("-h", "--help") for token in tokens):
        print(help_of(name, COMMANDS[name]))
        return 0
    # XLA spreads LAPACK's work over the cores itself; OpenBLAS's own threads, made when numpy is
    # imported, would fight with it for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from jaxemo.cli.running import run

    return run(name, COMMANDS[name], tokens)


def _expected_commands(name: str) -> str:
    if hint := nearest(name, COMMANDS):
        return f"did you mean {hint!r}?"
    return f"expected one of {', '.join(COMMANDS)}"


def _complain(message: str) -> int:
    print(f"jaxemo {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
