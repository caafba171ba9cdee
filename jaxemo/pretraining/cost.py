"""What pre-training costs: floating-point operations, from the encoder's sizes alone."""

from jaxemo.models.config import EncoderConfig


def forward_flops(config: EncoderConfig, num_samples: int) -> float:
    """Products and sums of one clip's pass: 2 for each pair, norms and activations left out.

    Convolutions of the stem and the position embedding, the projection, and in each layer
    T (4 D^2 + 2 D I) + 2 T^2 D pairs, with I the width between.
    """
    pairs, inputs = 0, 1
    for depth, (width, kernel) in enumerate(
        zip(config.conv_dim, config.conv_kernel, strict=True), start=1
    ):
        frames = config.num_frames_after(num_samples, num_layers=depth)
        pairs += frames * width * inputs * kernel
        inputs = width
    frames, width = config.num_frames(num_samples), config.hidden_size
    pairs += frames * inputs * width
    positions = max(config.pos_conv_depth, 1) * config.pos_conv_taps
    pairs += frames * positions * width * width // config.pos_conv_groups
    layer = frames * (4 * width**2 + 2 * width * config.intermediate_size)
    pairs += config.num_hidden_layers * (layer + 2 * frames**2 * width)
    return 2.0 * pairs


def training_flops(config: EncoderConfig, num_samples: int, *, has_teacher: bool) -> float:
    """Of one crop in a step: three passes' worth, and one more for a teacher; heads left out."""
    return (3 + has_teacher) * forward_flops(config, num_samples)
