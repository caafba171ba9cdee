"""Adaptation methods: one per file, one contract (`method.py`)."""

from jaxemo.peft.adapters import houlsby_adapter, parallel_adapter, pfeiffer_adapter
from jaxemo.peft.bitfit import bitfit
from jaxemo.peft.combined import combined
from jaxemo.peft.dora import dora
from jaxemo.peft.frozen import weighted_sum
from jaxemo.peft.full import full_fine_tuning
from jaxemo.peft.ia3 import ia3
from jaxemo.peft.lora import lora
from jaxemo.peft.method import Method, count_parameters
from jaxemo.peft.prefix_tuning import prefix_tuning
from jaxemo.peft.top_layers import top_layers

METHODS = {
    "full": full_fine_tuning,
    "top_layers": top_layers,
    "bitfit": bitfit,
    "weighted_sum": weighted_sum,
    "lora": lora,
    "dora": dora,
    "ia3": ia3,
    "adapter": houlsby_adapter,
    "pfeiffer_adapter": pfeiffer_adapter,
    "parallel_adapter": parallel_adapter,
    "prefix_tuning": prefix_tuning,
    "combined": combined,
}


def make_method(name: str, **options) -> Method:
    """The method of that name, with its own keyword options (for example `lora`, `rank=8`).

    Raises:
      ValueError: For an unknown name or option.
    """
    if name not in METHODS:
        raise ValueError(f"Unknown method {name!r}; expected one of {', '.join(METHODS)}.")
    try:
        return METHODS[name](**options)
    except TypeError as error:
        raise ValueError(f"Method {name!r}: {error}") from error


__all__ = ["METHODS", "Method", "count_parameters", "make_method"]
