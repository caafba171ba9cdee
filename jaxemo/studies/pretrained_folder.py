"""The folder of a pre-trained encoder: hub layout, model card, and what it was trained on, by content.

config.json, preprocessor_config.json, model.safetensors   what `load_encoder` and transformers open
pretraining.json                                           settings, records, digest of every file
README.md                                                  the model card
curve.jsonl, state/                                        records so far, and the last saved step
"""

import json
from pathlib import Path
from typing import Any

from jaxemo.data.files import write_whole, writing
from jaxemo.models.pretrained import Encoder, save_pretrained
from jaxemo.pretraining.cost import training_flops

STATE = "state"
ABOUT, CARD = "pretraining.json", "README.md"


def write_folder(
    encoder: Encoder, workdir: Path, *, about: dict[str, Any], digests: dict[str, str]
) -> list[Path]:
    """Writes encoder, record and model card; returns the files.

    Args:
      about: What tells the run from others, its records and its provenance.
      digests: Content of every file that was read, held-out ones included, by path.
    """
    with writing(workdir):
        save_pretrained(encoder, workdir)
    content = {**about, "flops": total_flops(encoder, about), "files": digests}
    write_whole(workdir / ABOUT, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_whole(workdir / CARD, model_card(encoder, content))
    return sorted(path for path in workdir.glob("[!.]*") if path.is_file())


def total_flops(encoder: Encoder, about: dict[str, Any]) -> float:
    """Floating-point operations of the whole run; see `cost`."""
    settings = about["pretrain"]
    num_samples = round(settings["crop_seconds"] * encoder.sample_rate_hz)
    has_teacher = settings["objective"] == "data2vec"
    crops = about["num_steps"] * settings["batch_size"]
    return crops * training_flops(encoder.config, num_samples, has_teacher=has_teacher)


def model_card(encoder: Encoder, about: dict[str, Any]) -> str:
    """The model card in Markdown."""
    settings, last = about["pretrain"], last_records(about["records"])
    hours = about["num_steps"] * settings["batch_size"] * settings["crop_seconds"] / 3600
    start = f"`{settings['initial']}`" if settings["initial"] else "random weights"
    codes = f", codes of {settings['features']}" if has_codes(settings["objective"]) else ""
    lines = [
        f"# {encoder.name}",
        "",
        f"An audio encoder of family {encoder.config.model_type}, pre-trained without labels by jaxemo.",
        "",
        f"- objective: {settings['objective']}{codes}",
        f"- trained: {'all of it' if settings['method'] == 'full' else settings['method'] + ', merged'}",
        f"- began from: {start} (fingerprint `{about['initial_fingerprint']}`), seed {about['seed']}",
        f"- audio: {about['hours']:.2f} h in {about['training_files']} files, "
        f"{about['held_out_files']} more held out; content `{about['training_data']}`",
        f"- budget: {about['num_steps']} steps of {settings['batch_size']} crops of "
        f"{settings['crop_seconds']} s, {hours:.2f} h of audio seen, {about['flops']:.3g} FLOPs",
        f"- input: {encoder.sample_rate_hz} Hz mono, {encoder.normalisation.value} per clip",
        "",
        "| part | loss | codes predicted | codes of targets | spread of hidden states |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {part} | {row['loss']:.4f} | {row['health']['predicted_codes']:.1f} | "
            f"{row['health']['target_codes']:.1f} | {row['health']['hidden_spread']:.3f} |"
            for part, row in last.items()
        ),
        "",
        "## Use",
        "",
        '`jaxemo.load_encoder("FOLDER")`, or a name in `config.encoders`. `pretraining.json` has the '
        "SHA-256 of every file",
        "that was read: do not evaluate on those.",
        "",
        "## Licence",
        "",
        "The licences of the audio, and of the encoder that training began from, hold for the weights. "
        "This card grants nothing",
        "beyond those.",
    ]
    return "\n".join(lines) + "\n"


def has_codes(objective: str) -> bool:
    """Whether an objective's targets are codes of features."""
    return objective in ("hubert", "best_rq", "mert")


def last_records(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last record of each part that has a loss."""
    return {row["part"]: row for row in records if "loss" in row}
