"""Writes the table of docs/methods.md: what each method trains and stores, and the seconds of its step.

Command: python tools/write_methods_table.py
Result:  the lines between the two marks of docs/methods.md, compared by tests/test_methods_table.py

Parameters and bytes are counted by shapes alone. Seconds are those of tools/benchmarks/methods.jsonl, made by
    for size in base large; do python tools/benchmark.py methods --size=$size --repeats=3; done \\
      > tools/benchmarks/methods.jsonl
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import parameter_shapes
from jaxemo.models.families import StemNorm
from jaxemo.models.heads import init_head
from jaxemo.peft import METHODS, Method, count_parameters
from jaxemo.report.rows import METHODS as NAMES
from jaxemo.studies.config import Settings
from jaxemo.studies.methods import choose_method

PAGE = Path(__file__).resolve().parent.parent / "docs" / "methods.md"
MARKS = ("<!-- table: tools/write_methods_table.py -->\n", "<!-- end of the table -->\n")
SECONDS = Path(__file__).resolve().parent / "benchmarks" / "methods.jsonl"
# wav2vec2-base's and wav2vec2-large-lv60's sizes.
ENCODERS = {
    "base": EncoderConfig(),
    "large": EncoderConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm=StemNorm.LAYER,
        conv_bias=True,
        do_stable_layer_norm=True,
    ),
}
# RAVDESS's, for the head's last layer.
NUM_EMOTIONS = 8
BYTES_PER_NUMBER = 4


class Size(NamedTuple):
    """Numbers that a method trains in the encoder, and all arrays of its checkpoint."""

    parameters: int
    checkpoint_bytes: int


def main() -> int:
    """Replaces what stands between the marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(before + MARKS[0] + table() + MARKS[1] + after, encoding="utf-8")
    print(PAGE)
    return 0


def table() -> str:
    """Markdown; every method with the options that a config has by default."""
    encoders = {name: (config, parameter_shapes(config)) for name, config in ENCODERS.items()}
    columns = [
        f"{size}: {what}" for size in encoders for what in ("parameters", "checkpoint", "step")
    ]
    lines = [
        f"| method | by name | {' | '.join(columns)} | merges |",
        f"| --- | --- |{' ---: |' * len(columns)} --- |",
    ]
    measured = map(json.loads, SECONDS.read_text(encoding="utf-8").splitlines())
    seconds = {line["size"]: line["median_s"] for line in measured}
    methods = {name: choose_method(Settings(), name).method for name in METHODS}
    for name in sorted(methods, key=list(NAMES).index):
        figures = " | ".join(
            f"{size.parameters:,} | {size.checkpoint_bytes / 1e6:,.1f} MB | {seconds[of][name]:.2f} s"
            for of, encoder in encoders.items()
            for size in [size_of(methods[name], *encoder)]
        )
        merges = "yes" if methods[name].merge else "no"
        lines.append(f"| {NAMES[name]} | `{name}` | {figures} | {merges} |")
    return "\n".join(lines) + "\n"


def size_of(method: Method, config: EncoderConfig, base: Any) -> Size:
    """Of the default head, and the mean and deviation of each layer, besides the method's own."""
    trained = count_parameters(jax.eval_shape(method.init, jax.random.key(0), base))
    layers = config.num_hidden_layers + 1
    head = jax.eval_shape(
        lambda key: init_head(
            key,
            num_layers=layers,
            width=config.hidden_size,
            hidden=Settings().training.head_width,
            num_outputs=NUM_EMOTIONS,
        ),
        jax.random.key(0),
    )
    statistics = 2 * layers * config.hidden_size
    whole = trained + count_parameters(head) + statistics
    return Size(trained, BYTES_PER_NUMBER * whole)


if __name__ == "__main__":
    sys.exit(main())
