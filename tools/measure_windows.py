"""What windows cost: hidden states of overlapping windows against those of one pass over the whole clip.

Prints, for each encoder and layer, the relative RMS error over all frames, over those within half a
second of a cut between windows and over those more than two seconds from one, and the frames' least
cosine. The audio is the embedded synthetic corpus, or every file of a folder, joined end to end.

Command: python tools/measure_windows.py ENCODER... [--audio=DIR] [--seconds=60] [--window=30] [--overlap=4]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from jaxemo.data.audio import read_waveform, standardise
from jaxemo.data.corpora.audio_files import AUDIO_EXTENSIONS
from jaxemo.data.synthetic.corpus import write_synthetic_corpus
from jaxemo.models.pretrained import Encoder, Normalisation, load_encoder
from jaxemo.models.windows import encode_windows, plan_windows

NEAR_S, FAR_S = 0.5, 2.0


def main() -> None:
    """One table an encoder."""
    options = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.audio or write_synthetic_corpus(Path(scratch) / "corpus", seed=0).parent
        for source in options.encoders:
            encoder = load_encoder(source)
            waveform = joined_audio(folder, encoder=encoder, seconds=options.seconds)
            print_errors(encoder, waveform, window_s=options.window, overlap_s=options.overlap)


def joined_audio(folder: Path, *, encoder: Encoder, seconds: float) -> np.ndarray:
    """The folder's files in a fixed random order, end to end, normalised as the encoder asks."""
    rate_hz = encoder.sample_rate_hz
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_EXTENSIONS)
    parts, total = [], 0
    for index in np.random.default_rng(0).permutation(len(paths)):
        parts.append(read_waveform(paths[index], sample_rate_hz=rate_hz))
        total += parts[-1].size
        if total >= seconds * rate_hz:
            break
    waveform = np.concatenate(parts)[: round(seconds * rate_hz)]
    if encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
        return standardise(waveform)
    return waveform


def print_errors(
    encoder: Encoder, waveform: np.ndarray, *, window_s: float, overlap_s: float
) -> None:
    """Errors by layer, with the sizes that they were measured at."""
    rate_hz, hop = encoder.sample_rate_hz, encoder.config.hop_samples
    sizes = {
        "window_samples": round(window_s * rate_hz),
        "overlap_samples": round(overlap_s * rate_hz),
    }
    whole = np.asarray(encoder(waveform[None], np.array([waveform.size])).hidden_states[:, 0])
    pieces = encode_windows(encoder, waveform, **sizes)
    error = np.concatenate([piece.hidden_states for piece in pieces], axis=1) - whole
    windows = plan_windows(encoder.config, waveform.size, **sizes)
    cuts = np.array([window.first_frame for window in windows[1:]])
    from_cut_s = np.abs(np.arange(whole.shape[1])[:, None] - cuts).min(axis=1) * hop / rate_hz
    print(
        f"\n{encoder.name}: {waveform.size / rate_hz:g} s, {len(windows)} windows of {window_s:g} s"
    )
    print("layer      all   within 0.5 s   beyond 2 s   least cosine   pooled")
    for layer, (states, missed) in enumerate(zip(whole, error, strict=True)):
        everywhere = np.ones(len(states), bool)
        shares = [
            _relative_rms(missed[chosen], states[chosen])
            for chosen in (everywhere, from_cut_s <= NEAR_S, from_cut_s > FAR_S)
        ]
        pooled = _relative_rms(missed.mean(axis=0), states.mean(axis=0))
        cosine = _cosines(states, states + missed).min()
        print("{:>5} {:8.1e} {:14.1e} {:12.1e}".format(layer, *shares), end="")
        print(f" {cosine:14.5f} {pooled:8.1e}")


def _relative_rms(missed: np.ndarray, states: np.ndarray) -> float:
    return float(np.sqrt(np.square(missed).mean() / np.square(states).mean()))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("encoders", nargs="+", help="hub ids, folders or untrained/...")
    parser.add_argument(
        "--audio", type=Path, help="a folder of audio; the embedded corpus if absent"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--window", type=float, default=30.0)
    parser.add_argument("--overlap", type=float, default=4.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
