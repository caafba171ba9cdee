"""Makes the classification models and logits that tests/test_classifiers.py asserts, with Hugging Face's models.

    python tools/make_classifier_goldens.py --destination=tests/classifier_goldens [--inputs=FILE]

Each folder is a tiny model in hub layout with random weights, and `golden.safetensors` with its logits
for each clip of the inputs, alone and without padding. Needs torch, transformers and safetensors.
"""

# torch comes with the extra `reference` alone.
# pyright: reportMissingImports=false

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_goldens import randomise, write
from safetensors.numpy import load_file
from transformers.modeling_outputs import SequenceClassifierOutput

SEED = 20
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 12,
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
# Labels as superb/wav2vec2-base-superb-er and audeering's model of dimensions have them.
EMOTIONS = {0: "neu", 1: "hap", 2: "ang", 3: "sad"}
RATINGS = {0: "arousal", 1: "dominance", 2: "valence"}


class TanhHead(torch.nn.Module):
    """dense, tanh, out_proj over the mean of the frames, as authors publish it beside their models."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.out_proj(torch.tanh(self.dense(pooled)))


class TanhModel(transformers.Wav2Vec2PreTrainedModel):
    """An encoder under such a head; the forward pass is that of audeering's model card."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.wav2vec2 = transformers.Wav2Vec2Model(config)
        self.classifier = TanhHead(config)
        self.post_init()

    def forward(self, clip: torch.Tensor) -> Any:
        logits = self.classifier(self.wav2vec2(clip).last_hidden_state.mean(dim=1))
        return SequenceClassifierOutput(logits=logits)


# Folder -> class, configuration.
MODELS = {
    "wav2vec2_weighted": (
        transformers.Wav2Vec2ForSequenceClassification,
        transformers.Wav2Vec2Config(**SIZES, use_weighted_layer_sum=True, id2label=EMOTIONS),
    ),
    "hubert_last": (
        transformers.HubertForSequenceClassification,
        transformers.HubertConfig(**SIZES, **STABLE, id2label=EMOTIONS),
    ),
    "wavlm_weighted": (
        transformers.WavLMForSequenceClassification,
        transformers.WavLMConfig(
            **SIZES, num_buckets=8, use_weighted_layer_sum=True, id2label=EMOTIONS
        ),
    ),
    "wav2vec2_ratings": (
        TanhModel,
        transformers.Wav2Vec2Config(**SIZES, **STABLE, id2label=RATINGS, problem_type="regression"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--destination", type=Path, required=True)
    parser.add_argument(
        "--inputs", type=Path, default=Path("tests/goldens/input_16000.safetensors")
    )
    arguments = parser.parse_args()
    inputs = load_file(arguments.inputs)
    for name, (model_class, config) in MODELS.items():
        model = model_class(config).eval()
        randomise(model, SEED)
        folder = arguments.destination / name
        folder.mkdir(parents=True, exist_ok=True)
        config.architectures = [model_class.__name__]
        (folder / "config.json").write_text(config.to_json_string())
        extractor = {"do_normalize": False, "sampling_rate": 16_000}
        (folder / "preprocessor_config.json").write_text(json.dumps(extractor) + "\n")
        write(folder / "model.safetensors", {n: t.numpy() for n, t in model.state_dict().items()})
        write(folder / "golden.safetensors", {"logits": logits(model, inputs)})
        print(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB")


def logits(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Of each clip, alone: (clips, outputs)."""
    clips = zip(inputs["waveform"], inputs["num_samples"], strict=True)
    with torch.no_grad():
        return np.concatenate(
            [model(torch.from_numpy(clip[:length])[None]).logits.numpy() for clip, length in clips]
        )


if __name__ == "__main__":
    main()
