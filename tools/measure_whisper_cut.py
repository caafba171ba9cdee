"""What cutting Whisper's positions to the clip changes against the original's 30 s of silence.

    python tools/measure_whisper_cut.py --encoder=tiny.en.pt --clips=20 FOLDER_OF_AUDIO

Prints, for each hidden state, the root mean square difference relative to the padded original's,
over the clip's own frames, and the cosine of the clip's mean vectors: medians over clips.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxemo.data.audio import read_waveform
from jaxemo.models.pretrained import Encoder, load_encoder

ENDINGS = (".wav", ".flac", ".mp3", ".ogg")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--encoder", required=True, help="a Whisper model: .pt, folder or hub id")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.encoder)
    length = encoder.config.longest_clip_samples
    if not length:
        parser.error(f"{arguments.encoder} is no Whisper model")
    paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    chosen = paths[:: max(len(paths) // arguments.clips, 1)][: arguments.clips]
    measured = np.array([differences(encoder, path, length=length) for path in chosen])
    print(f"{len(chosen)} clips; layer, relative difference, cosine of means")
    for layer, (difference, cosine) in enumerate(np.median(measured, axis=0)):
        print(f"{layer:>3}  {difference:.4f}  {cosine:.4f}")


def differences(encoder: Encoder, path: Path, *, length: int) -> np.ndarray:
    """[L + 1, 2] of one clip; `length` is what the original pads it to, in samples."""
    clip = read_waveform(str(path), sample_rate_hz=encoder.sample_rate_hz)[:length]
    cut = np.asarray(encoder(clip[None], np.array([clip.size])).hidden_states[:, 0])
    padded = np.pad(clip, (0, length - clip.size))
    whole = np.asarray(encoder(padded[None], np.array([length])).hidden_states[:, 0])
    whole = whole[:, : cut.shape[1]]
    power = np.mean(whole**2, axis=(1, 2))
    difference = np.sqrt(np.mean((cut - whole) ** 2, axis=(1, 2)) / power)
    means = cut.mean(axis=1), whole.mean(axis=1)
    norms = [np.linalg.norm(mean, axis=-1) for mean in means]
    return np.stack(
        [difference, np.sum(means[0] * means[1], axis=-1) / norms[0] / norms[1]], axis=1
    )


if __name__ == "__main__":
    main()
