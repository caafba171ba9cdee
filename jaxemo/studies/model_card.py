"""The model card of an exported model: what it is, on what it was trained and scored, and how it is loaded."""

import json
from typing import Any, NamedTuple

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.studies.recognition import EMOTION_CLASSES, RATINGS, TAGS

# What a model's outputs are, by its objective.
OUTPUTS = {EMOTION_CLASSES: "emotions", RATINGS: "ratings", TAGS: "tags"}


class Exported(NamedTuple):
    """What became of the model.

    Attributes:
      merged: Whether the adaptation is in the weights, and is not an adapter of its own.
      classifier: The class of transformers that has the head; empty where the head lies beside.
      why_no_head: Why it does.
      caveat: What a user of the folder must know; empty for nothing.
    """

    merged: bool
    classifier: str
    why_no_head: str = ""
    caveat: str = ""


def model_card(record: dict[str, Any], exported: Exported) -> str:
    """The card in Markdown.

    Args:
      record: Of the checkpoint.
    """
    encoder, training = record["encoder"], record["training"]
    revision = f", revision {encoder['revision']}" if encoder.get("revision") else ""
    options = ", ".join(f"{key} {value}" for key, value in record["method"]["options"].items())
    kept = "merged into the weights" if exported.merged else "as an adapter of its own"
    lines = [
        *_metadata(record, exported),
        f"# {encoder['name']}, {record['method']['name']}, trained on "
        f"{' and '.join(training['domains'])}",
        "",
        f"- encoder: {encoder['source']} ({encoder['origin']}{revision}), fingerprint "
        f"`{encoder['fingerprint']}`",
        f"- method: {record['method']['name']}{f' ({options})' if options else ''}, {kept}",
        f"- {OUTPUTS[record['objective']]}: {', '.join(record['outputs'])}",
        *_temperature_in_words(record),
        f"- corpus: {_corpus_of(record)}, content `{record['corpus']['hash']}`",
        f"- training domains: {', '.join(training['domains'])}; regime {training['regime']}, fold "
        f"{training['fold']}, seed {training['seed']}; speakers seen: {len(record['seen_speakers'])}",
        f"- audio: {encoder['sample_rate_hz']} Hz mono, {_audio_in_words(record['audio'])}",
        f"- written by jaxemo {record['jaxemo']}",
        "",
        "## Figures on held-out speakers",
        "",
        *_figure_table(record["figures"]),
        "",
        "## Use",
        "",
        *_use(record, exported),
        "",
        "## Licence",
        "",
        "The weights derive from the encoder above and from the corpus that it was trained on: the "
        "licences of both hold",
        f"for them. {_licence_of_corpus(record)} This card grants nothing beyond those.",
    ]
    return "\n".join(lines) + "\n"


def _temperature_in_words(record: dict[str, Any]) -> list[str]:
    if record["temperature"] == 1.0:
        return []
    return [
        f"- calibration: logits divided by {record['temperature']:.4g}, the temperature fitted on dev "
        "speakers, give calibrated probabilities"
    ]


def _metadata(record: dict[str, Any], exported: Exported) -> list[str]:
    """The block that the hub reads; JSON's texts are YAML's."""
    library = "transformers" if exported.merged else "peft"
    return [
        "---",
        f"library_name: {library}",
        "pipeline_tag: audio-classification",
        f"base_model: {json.dumps(record['encoder']['source'])}",
        "tags: [emotion-recognition, jaxemo]",
        "---",
        "",
    ]


def _corpus_of(record: dict[str, Any]) -> str:
    return ", ".join(record["corpus"].get("corpora") or [record["corpus"].get("name", "unknown")])


def _licence_of_corpus(record: dict[str, Any]) -> str:
    names = [name.partition("=")[0] for name in _corpus_of(record).split(", ")]
    known = [
        f"{CATALOGUE[name].title}: {CATALOGUE[name].licence}."
        for name in names
        if name in CATALOGUE
    ]
    return " ".join(known) or "That of the corpus is not known here."


def _audio_in_words(audio: dict[str, Any]) -> str:
    cropped = "" if audio["excerpt"] == "whole" else f" of {audio['crop_seconds']} s"
    trimmed = audio["trim_silence_db"]
    edges = f"edges {trimmed} dB below the loudest 20 ms removed, " if trimmed else ""
    return f"{edges}{audio['excerpt']}{cropped}"


def _use(record: dict[str, Any], exported: Exported) -> list[str]:
    base = json.dumps(record["encoder"]["source"])
    if exported.classifier and exported.merged:
        return [
            "    from transformers import AutoModelForAudioClassification",
            '    model = AutoModelForAudioClassification.from_pretrained("FOLDER")',
            "",
            "or `jaxemo predict --checkpoint=FOLDER FILES...`.",
            *_caveat(exported),
        ]
    if exported.classifier:
        names = {str(index): name for index, name in enumerate(record["outputs"])}
        return [
            "    from peft import PeftModel",
            "    from transformers import AutoModelForAudioClassification",
            "    base = AutoModelForAudioClassification.from_pretrained(",
            f"        {base}, id2label={names}, classifier_proj_size={record['head']['width']}",
            "    )",
            '    model = PeftModel.from_pretrained(base, "FOLDER").merge_and_unload().eval()',
            *_caveat(exported),
        ]
    load = (
        '`jaxemo.load_encoder("FOLDER")` or transformers load the encoder.'
        if exported.merged
        else '`PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), "FOLDER")` or '
        "`--config.encoders=FOLDER` load the adapted encoder."
    )
    return [
        f"{load} `head.safetensors` holds the emotion head",
        "(layer weights, projection, classifier) and the mean and deviation of each layer that it "
        f"standardises by: {exported.why_no_head}.",
        *_caveat(exported),
    ]


def _caveat(exported: Exported) -> list[str]:
    return ["", exported.caveat] if exported.caveat else []


def _figure_table(figures: list[dict[str, Any]]) -> list[str]:
    rows = [row for row in figures if row["emotion"] == "all" and row["mean"] is not None]
    return [
        "| domain | metric | value | clips |",
        "| --- | --- | --- | --- |",
        *(f"| {r['domain']} | {r['metric']} | {r['mean']:.4f} | {r['n']} |" for r in rows),
    ]
