"""The blocks `config.audio` and `config.embed`: what of each clip is taken, by studies and by `jaxemo embed`."""

from typing import Annotated

from jaxemo.studies.ranges import Between, Block, OneOf, settings

# One frame of the published encoders has 25 ms; attention takes 4 GB per head for 10 minutes.
Seconds = Annotated[float, Between(0.025, 600)]
Overlap = Annotated[float, Between(0, 300)]
# Less than 1 dB would leave a clip its loudest 20 ms; 24-bit audio has 144 dB.
Decibels = Annotated[float, Between(1, 150, also=(0,))]
BatchSize = Annotated[int, Between(1, 65_536)]
ComputeDtype = Annotated[str, OneOf(("float32", "bfloat16"))]


@settings
class EmbedSettings(Block):
    """`jaxemo embed`: whole clips, no crop."""

    # 'pooled' (a mean by clip and layer) or 'frames' (and every frame).
    frames: Annotated[str, OneOf(("pooled", "frames"))] = "pooled"
    dtype: Annotated[str, OneOf(("float32", "float16"))] = "float32"  # of the stored arrays
    compute_dtype: ComputeDtype = "float32"
    window_seconds: Seconds = 30.0  # longer clips go through in overlapping windows
    overlap_seconds: Overlap = 4.0
    batch_size: BatchSize = 8


@settings
class AudioSettings(Block):
    """What of each clip the studies take."""

    # What studies 1 and 2 look at: 'whole' clips, their 'middle', or whole clips of which training
    # draws a 'random' stretch in every step.
    excerpt: Annotated[str, OneOf(("whole", "middle", "random"))] = "whole"
    crop_seconds: Seconds = 3.0  # of the middle or of a random stretch
    # Edges this far below a clip's loudest 20 ms go first; 0: none.
    trim_silence_db: Decibels = 0.0
    window_seconds: Seconds = 30.0  # longer clips go through in overlapping windows
    overlap_seconds: Overlap = 4.0
    batch_size: BatchSize = 16
