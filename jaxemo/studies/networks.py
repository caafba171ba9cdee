"""The network of a source under a method, and the frozen parameters that it reads."""

import jax.numpy as jnp

from jaxemo.models.encoder import Remat
from jaxemo.models.heads import HeadForm, Pooling
from jaxemo.models.pretrained import Encoder
from jaxemo.peft import Method
from jaxemo.peft.method import Params
from jaxemo.studies.sources import Source
from jaxemo.training.model import Network


def make_network(
    source: Source,
    method: Method,
    *,
    head_width: int,
    head_dropout: float,
    num_outputs: int,
    compute_dtype: str,
    pooling: Pooling = Pooling.MEAN,
    head_form: str = HeadForm.STANDARDISED.value,
    remat: str = Remat.NOTHING.value,
    first_method: Method | None = None,
) -> Network:
    """The pure functions of this source under this method.

    Args:
      head_form: A value of `HeadForm`.
      compute_dtype: Of the encoder's products.
      remat: A value of `Remat`, for training.
      first_method: Whose adaptation is merged into the base first, in a second stage.

    Raises:
      ValueError: When the method trains inside an encoder and the source has none.
    """
    if method.frozen_layers is not None:
        module = _adapted_encoder(source, method).module.clone(
            dtype=jnp.dtype(compute_dtype), remat=Remat(remat)
        )
    else:
        module = None if source.encoder is None else source.encoder.module
    return Network(
        module,
        method,
        head_width,
        head_dropout,
        num_outputs,
        HeadForm(head_form),
        pooling,
        first_method=first_method,
    )


def base_of(source: Source, method: Method) -> Params:
    """The frozen parameters that training reads: none where the whole encoder is frozen."""
    return {} if method.frozen_layers is None else _adapted_encoder(source, method).params


def _adapted_encoder(source: Source, method: Method) -> Encoder:
    if source.encoder is None:
        raise ValueError(
            f"Method {method.name!r} adapts an encoder; {source.name!r} has none. "
            "Use 'weighted_sum' with it."
        )
    return source.encoder
