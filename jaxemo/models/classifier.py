"""Published classification models: an encoder and the head that was fine-tuned with it."""

from typing import NamedTuple

from jaxemo.models.checkpoints.heads import PublishedHead
from jaxemo.models.checkpoints.hub_layout import read_published_head
from jaxemo.models.pretrained import Encoder, load_encoder, locate


class Classifier(NamedTuple):
    """A classification model, its two parts apart."""

    encoder: Encoder
    head: PublishedHead


def load_classifier(source: str) -> Classifier:
    """Loads a model for classification or regression of whole clips.

    Args:
      source: A folder in hub layout, or a hub id such as `superb/wav2vec2-base-superb-er`, pinned by
        `@REVISION` if need be.

    Raises:
      ValueError: There is no such model, it has no head of a known kind, or its encoder is none that
        `load_encoder` takes.
    """
    encoder = load_encoder(source)
    directory, _, _ = locate(source, None)
    return Classifier(encoder, read_published_head(directory, encoder.config))
