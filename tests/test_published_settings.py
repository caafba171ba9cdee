"""The configs of published benchmarks, on made folders in the layouts of their corpora."""

import json

import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import main
from jaxemo.data.folds import RAVDESS_TEST_ACTORS

pytestmark = [pytest.mark.xdist_group("cli"), pytest.mark.slow]

TURN = "[0.0 - 1.0]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]\n"


def sound(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).normal(0, 0.1, 3200)
    soundfile.write(path, noise, 16_000)


def ravdess(root):
    """All eight emotions by one actor of each of EmoBox's first three groups."""
    for number, group in enumerate(RAVDESS_TEST_ACTORS[:3]):
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02}-01-01-01-{group[0]}.wav"
            sound(root / f"Actor_{group[0]}" / name, 8 * number + emotion)


def iemocap(root):
    """A clip of each class by both speakers of all five sessions."""
    for session in range(1, 6):
        folder, dialogue = root / f"Session{session}", f"Ses0{session}F_impro01"
        lines = []
        for place, (label, who) in enumerate(
            (x, w) for x in ("neu", "exc", "sad", "ang") for w in "FM"
        ):
            turn = f"{dialogue}_{who}{place:03}"
            sound(folder / "sentences" / "wav" / dialogue / f"{turn}.wav", 100 * session + place)
            lines.append(TURN.format(turn=turn, label=label))
        table = folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        table.parent.mkdir(parents=True)
        table.write_text("".join(lines))


def emomusic(root):
    songs, ratings = ["song_id,Artist,Mediaeval 2013 set"], ["song_id,mean_arousal,mean_valence"]
    for song in range(12):
        songs.append(f"{song},artist {song},{('development', 'evaluation')[song % 3 == 0]}")
        ratings.append(f"{song},{1 + song % 8},{8 - song % 5}")
        sound(root / "clips_45seconds" / f"{song}.wav", song)
    (root / "songs_info.csv").write_text("\n".join(songs))
    (root / "static_annotations.csv").write_text("\n".join(ratings))


@pytest.mark.parametrize(
    ("config", "lay_out", "metric"),
    [
        ("emobox_ravdess", ravdess, "WA"),
        ("superb_er", iemocap, "WA"),
        ("marble_emo", emomusic, "R2"),
    ],
)
def test_a_published_setting_runs_from_the_published_layout(
    config, lay_out, metric, cache, tmp_path
):
    lay_out(tmp_path / "corpus")
    given = [f"--config={config}", cache, f"--config.corpus.audio_dir={tmp_path / 'corpus'}"]
    small = ["--config.train.encoder=untrained/speech", "--config.methods.weighted_sum.epochs=1"]
    assert main(["train", *given, *small, f"--workdir={tmp_path / 'run'}"]) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    values = [row["mean"] for row in found["figures"] if row["metric"] == metric]
    assert values and all(np.isfinite(values))
