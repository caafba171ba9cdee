"""`load_encoder`: from a hub id or a folder to an encoder that can be called.

An `Encoder` is the linen module, its parameters, and what the rest of the package must know of it:
sample rate, normalisation, a fingerprint. Normalising and resampling are not done here.
"""

import dataclasses
import functools
import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxemo.models.checkpoints import hub_layout, torch_pickle
from jaxemo.models.checkpoints import names as checkpoint_names
from jaxemo.models.checkpoints.heads import PublishedHead
from jaxemo.models.checkpoints.hub_layout import Origin, Preprocessing, WeightsFormat
from jaxemo.models.config import EncoderConfig
from jaxemo.models.embedded import SMALL_NAMES, embedded_folder
from jaxemo.models.encoder import AudioEncoder, EncoderOutput, Remat, parameter_shapes
from jaxemo.models.families import Normalisation
from jaxemo.models.layers import ChannelMoments
from jaxemo.models.untrained import UntrainedKind, write_untrained_encoder

# These load like a folder.
UNTRAINED_NAMES = tuple(f"untrained/{kind.value}" for kind in UntrainedKind)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Encoder:
    """An encoder with its weights.

    Attributes:
      name: For tables and charts; an untrained encoder's name says that it is untrained.
      origin: Where the weights come from.
      module: The linen module; `module.apply({"params": params}, ...)` for everything beyond the
        plain call.
      params: float32 parameter tree with Hugging Face Flax names.
      sample_rate_hz: Rate of the waveforms it takes.
      normalisation: What its waveforms have been through, per clip over the clip's own samples.
      revision: Commit of a hub encoder; empty for others.
    """

    name: str
    origin: Origin
    module: AudioEncoder
    params: dict[str, Any]
    sample_rate_hz: int
    normalisation: Normalisation
    revision: str = ""

    @property
    def config(self) -> EncoderConfig:
        """Sizes and flags."""
        return self.module.config

    @functools.cached_property
    def fingerprint(self) -> str:
        """The parameters' fingerprint; see the function of that name."""
        return fingerprint(self.params)

    def __call__(
        self,
        waveform: Float[Array | np.ndarray, "B N"],
        num_samples: Int[Array | np.ndarray, " B"],
        moments: ChannelMoments | None = None,
    ) -> EncoderOutput:
        """All hidden states, without dropout; compiled once for each shape of `waveform`.

        Args:
          waveform: Normalised clips; what lies from `num_samples` on is never used.
          num_samples: From one frame's worth (`config.shortest_clip_samples`, 400 for the published
            stems) to N. Whisper takes N of up to 30 s.
          moments: See `AudioEncoder`; for windows of longer clips.

        Raises:
          ValueError: naming every clip whose length is out of range.
        """
        _check_lengths(self.config, waveform.shape[1], np.asarray(num_samples))
        return self._jitted(self.params, jnp.asarray(waveform), jnp.asarray(num_samples), moments)

    @functools.cached_property
    def _jitted(self):
        return jax.jit(lambda params, *inputs: self.module.apply({"params": params}, *inputs))


def load_encoder(
    source: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    revision: str | None = None,
    normalisation: Normalisation | None = None,
    remat: Remat = Remat.NOTHING,
) -> Encoder:
    """Loads an encoder.

    Args:
      source: A folder in hub layout; one of `SMALL_NAMES` and `UNTRAINED_NAMES`, such as `small/both`
        and `untrained/small`; a hub id such as `m-a-p/MERT-v1-95M` or, pinned,
        `m-a-p/MERT-v1-95M@REVISION` (fetched once into the Hugging Face cache); or OpenAI's `.pt` file
        of a Whisper model.
      dtype: Of the computation; parameters stay float32.
      revision: Commit, tag or branch of a hub id.
      normalisation: In place of what `preprocessor_config.json` says.
      remat: What training recomputes instead of keeping.

    Raises:
      ValueError: if there is no such encoder, its configuration asks for something unsupported, or
        its weights are damaged or do not fit; every offending key is listed.
    """
    if Path(source).suffix == ".pt" and Path(source).is_file():
        loaded = _read_whisper_file(Path(source))
    else:
        loaded = _read_folder(source, revision)
    preprocessing = loaded.preprocessing
    return Encoder(
        name=loaded.name,
        origin=loaded.origin,
        module=AudioEncoder(loaded.config, dtype=dtype, remat=remat),
        params=jax.tree.map(jnp.asarray, loaded.params),
        sample_rate_hz=preprocessing.sample_rate_hz,
        normalisation=preprocessing.normalisation if normalisation is None else normalisation,
        revision=loaded.revision,
    )


class _Loaded(NamedTuple):
    """What was found on disk."""

    name: str
    origin: Origin
    config: EncoderConfig
    params: dict[str, Any]
    preprocessing: Preprocessing
    revision: str = ""


def _read_folder(source: str | Path, revision: str | None) -> _Loaded:
    """Hub layout, here or on the hub, and the untrained encoders."""
    with tempfile.TemporaryDirectory() as scratch:
        if str(source) in UNTRAINED_NAMES:
            directory, name, origin = Path(scratch), str(source), Origin.UNTRAINED
            write_untrained_encoder(UntrainedKind(name.removeprefix("untrained/")), directory)
        elif str(source) in SMALL_NAMES:
            directory, name, origin = embedded_folder(str(source)), str(source), Origin.LOCAL
        else:
            directory, name, origin = locate(source, revision)
        hub_config = hub_layout.read_json(directory / hub_layout.CONFIG)
        try:
            config = EncoderConfig.from_hub(hub_config)
        except ValueError as error:
            raise ValueError(f"{directory / hub_layout.CONFIG}: {error}") from error
        params = hub_layout.read_params(directory, config, parameter_shapes(config))
        preprocessing = hub_layout.read_preprocessing(directory, config)
    if hub_config.get("jaxemo_origin") == Origin.UNTRAINED:
        name, origin = str(hub_config.get("_name_or_path")), Origin.UNTRAINED
    commit = directory.name if origin is Origin.PUBLISHED else ""
    return _Loaded(name, origin, config, params, preprocessing, commit)


def _read_whisper_file(path: Path) -> _Loaded:
    """OpenAI's own checkpoint: one file with the sizes and both halves of the model."""
    try:
        dims, tensors = torch_pickle.read_whisper(path)
        config = EncoderConfig.from_hub(_whisper_hub_config(dims))
        template = parameter_shapes(config)
        params = checkpoint_names.params_from_torch(tensors, template, optional=frozenset())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    preprocessing = Preprocessing(config.sample_rate_hz, config.family.normalisation)
    return _Loaded(path.stem, Origin.LOCAL, config, params, preprocessing)


def _whisper_hub_config(dims: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's names of sizes as the hub's; its feed-forward layers are always four times as wide."""
    names = {
        "n_mels": "num_mel_bins",
        "n_audio_ctx": "max_source_positions",
        "n_audio_state": "d_model",
        "n_audio_head": "encoder_attention_heads",
        "n_audio_layer": "encoder_layers",
    }
    missing = [name for name in names if type(dims.get(name)) is not int]
    if missing:
        raise ValueError(f"its dims lack whole numbers for {', '.join(missing)}")
    hub = {theirs: dims[name] for name, theirs in names.items()}
    return hub | {"model_type": "whisper", "encoder_ffn_dim": 4 * dims["n_audio_state"]}


def save_pretrained(
    encoder: Encoder,
    directory: Path,
    *,
    params: Any = None,
    weights: WeightsFormat = WeightsFormat.SAFETENSORS,
    head: PublishedHead | None = None,
) -> None:
    """Writes an encoder in hub layout, as Hugging Face transformers reads it.

    Args:
      encoder: What to write.
      directory: Made if absent; these files in it are replaced, others stay. `load_encoder` prefers
        safetensors where it finds both kinds.
      params: Instead of the encoder's own, such as the merged result of fine-tuning.
      weights: Safetensors with PyTorch's names, or Flax msgpack, the tree of transformers 4's
        `FlaxWav2Vec2Model`.
      head: Written with it, as transformers' class for classification has it; for safetensors.
    """
    hub_layout.write(
        Path(directory),
        config=encoder.config,
        params=encoder.params if params is None else params,
        name=encoder.name,
        origin=encoder.origin,
        preprocessing=hub_layout.Preprocessing(encoder.sample_rate_hz, encoder.normalisation),
        weights=weights,
        head=head,
    )


def fingerprint(params: Any) -> str:
    """SHA-256, in hex, over path, shape, dtype and bytes of every parameter, in order of path."""
    digest = hashlib.sha256()
    for path, leaf in sorted(checkpoint_names.flatten(params).items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.shape} {array.dtype.name}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def locate(source: str | Path, revision: str | None) -> tuple[Path, str, Origin]:
    """The folder to read, the encoder's name, and where its weights come from.

    Raises:
      ValueError: There is no such folder, and no such repository on the hub or in its cache.
    """
    directory = Path(source).expanduser()
    if directory.is_dir():
        return directory, directory.resolve().name, Origin.LOCAL
    match = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?", str(source))
    if isinstance(source, Path) or match is None:
        raise ValueError(f"no folder {source}; give a folder in hub layout or a hub id")
    repository, pinned = match.groups()
    if revision and pinned and revision != pinned:
        raise ValueError(f"{source} and revision={revision!r} pin two revisions; give one")
    directory = hub_layout.download(repository, revision=revision or pinned)
    return directory, repository, Origin.PUBLISHED


def _check_lengths(config: EncoderConfig, available: int, num_samples: np.ndarray) -> None:
    if config.longest_clip_samples and available > config.longest_clip_samples:
        raise ValueError(
            f"the waveform is {available} samples wide; this encoder has positions for "
            f"{config.longest_clip_samples}. Cut it into windows."
        )
    shortest = config.shortest_clip_samples
    wrong = np.flatnonzero((num_samples < shortest) | (num_samples > available))
    if wrong.size:
        clips = ", ".join(f"clip {row} has {num_samples[row]}" for row in wrong)
        raise ValueError(
            f"num_samples must lie between {shortest} (one frame) and {available} (the waveform's "
            f"width): {clips}. Drop or pad short clips; cut or widen for long ones."
        )
