"""Fine-tuning of the uppermost transformer layers; all below them stays frozen.

Trained are the layers' own parameters alone: position embedding, feature projection and the norm
before or after the stack belong to none of them.
"""

from jaxemo.peft.full import retrained
from jaxemo.peft.method import Method, Params, flatten
from jaxemo.peft.targets import layer_index, num_layers


def top_layers(*, layers: int = 2) -> Method:
    """Full fine-tuning of the `layers` layers next to the output.

    Raises:
      ValueError: For no layer; from `init`, when the base has fewer.
    """
    if layers < 1:
        raise ValueError(f"'top_layers' needs at least 1 layer; got {layers}.")

    def choose(base: Params) -> list[str]:
        depth = num_layers(base)
        if layers > depth:
            raise ValueError(
                f"'top_layers' is to train {layers} layers; this encoder has {depth}. Take fewer."
            )
        chosen = set(range(depth - layers, depth))
        return [path for path in flatten(base) if layer_index(path) in chosen]

    return retrained("top_layers", choose)
