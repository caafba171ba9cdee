"""The configuration of everything, with its defaults; files under configs/ change what they are about."""

from ml_collections import ConfigDict


def default_config() -> ConfigDict:
    """A locked config: all three studies on the embedded corpus with the embedded encoders.

    Every default of the recipe is our choice.
    """
    config = ConfigDict()
    config.seed = 0
    config.cache_dir = ""  # "" means $JAXEMO_CACHE, else the user's cache folder.
    # 'acoustic', 'untrained/speech', 'untrained/music', hub ids or folders in hub layout.
    config.encoders = ("acoustic", "untrained/speech", "untrained/music")

    config.corpus = corpus = ConfigDict()
    corpus.name = "synthetic"  # 'synthetic', 'ravdess' or 'manifest'
    corpus.audio_dir = ""  # ravdess: any folder above the files
    corpus.manifest = ""  # manifest: a CSV file
    corpus.domains = ("speech", "music")  # ravdess: what must be there
    corpus.emotions = ("neutral", "calm", "happy", "sad", "angry", "fearful")
    corpus.calm = "keep_apart"  # 'keep_apart', 'merge_into_neutral' or 'drop'
    corpus.unusable = "leave_out"  # 'leave_out' or 'stop'
    corpus.seed = 0  # synthetic
    corpus.clips_per_cell = 2  # synthetic: clips by speaker, emotion and domain

    config.folds = ConfigDict({"num_folds": 6})
    config.embed = _embed()

    config.audio = audio = ConfigDict()
    # Edges this far below a clip's loudest 20 ms go first (0: none): RAVDESS speech has more than song.
    audio.trim_silence_db = 40.0
    audio.crop_seconds = 3.0  # then the middle of each clip, the same length in both domains
    audio.batch_size = 16

    config.layers = layers = ConfigDict()
    layers.num_seeds = 3
    layers.l2_strengths = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

    config.transfer = transfer = ConfigDict()
    transfer.methods = ("full", "weighted_sum", "lora", "adapter")
    transfer.regimes = ("target_only", "two_stage")
    transfer.num_folds = 6
    transfer.num_seeds = 1

    config.methods = _methods()

    config.training = training = ConfigDict()
    training.epochs = 20
    training.batch_size = 32
    training.micro_batches = 1
    training.head_rate = 1e-3
    training.head_width = 256
    training.head_dropout = 0.1
    training.weight_decay = 1e-2
    training.clip_norm = 1.0
    training.warmup = 0.1
    training.runs_at_once = 0  # runs of one method in memory at a time; 0: all

    config.train = train = ConfigDict()  # `jaxemo train`: one model
    train.encoder = "untrained/speech"
    train.method = "lora"
    train.domains = ("speech",)
    train.fold = 0

    config.similarity = _similarity()

    # -1, for one of them: all devices that the other axes leave.
    config.mesh = ConfigDict({"run": 1, "data": -1, "fsdp": 1, "tensor": 1})
    return config.lock()


def _methods() -> ConfigDict:
    """Each method's own options, and what it changes in the recipe of `training`."""
    methods = ConfigDict()
    methods.full = ConfigDict({"adaptation_rate": 1e-4})
    # A step on pooled layers costs next to nothing.
    methods.weighted_sum = ConfigDict({"epochs": 100})
    methods.lora = ConfigDict({"adaptation_rate": 1e-3, "rank": 8, "alpha": 16.0})
    methods.adapter = ConfigDict({"adaptation_rate": 1e-3, "bottleneck": 32})
    return methods


def _embed() -> ConfigDict:
    """`jaxemo embed`: whole clips, no crop."""
    embed = ConfigDict()
    embed.frames = "pooled"  # 'pooled' (a mean by clip and layer) or 'frames' (and every frame)
    embed.dtype = "float32"  # of the stored arrays: 'float32' or 'float16'
    embed.compute_dtype = "float32"  # 'float32' or 'bfloat16'
    embed.window_seconds = 30.0  # longer clips go through in overlapping windows
    embed.overlap_seconds = 4.0
    embed.batch_size = 8
    return embed


def _similarity() -> ConfigDict:
    similarity = ConfigDict()
    # Layer of the cross-emotion matrix as a share of the depth; 0 is the input of the first layer.
    similarity.matrix_depth = 0.5
    similarity.frames_per_clip = 8  # kept for everything that is resampled
    similarity.resampling_dimensions = 64  # leading principal directions of a layer, for the same
    similarity.permutations = 9999  # of emotions within speakers, for emotion bias
    similarity.halvings = 16  # of the speakers, for the same
    return similarity
