"""BitFit: only biases are trained, those of norms included.

The bias of the keys is left out: it adds the same to a query's product with every key, which the
softmax takes away again, so that its gradient is zero.

Reference: Ben Zaken et al. 2022, arXiv 2106.10199.
"""

from jaxemo.peft.full import paths_above_stem, retrained
from jaxemo.peft.method import Method, Params


def bitfit() -> Method:
    """The trainable tree is a copy of the biases above the stem."""
    return retrained("bitfit", _biases)


def _biases(base: Params) -> list[str]:
    return [
        path
        for path in paths_above_stem(base)
        if path.endswith("/bias") and not path.endswith("/k_proj/bias")
    ]
