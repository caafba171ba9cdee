"""Tiny folders in the layouts in which corpora are published: files, and what they must be read as.

A clip's expected row is (end of its path, emotion or quadrant, speaker, part); audio files are empty,
since only their names are read.
"""

from typing import NamedTuple


class Layout(NamedTuple):
    """A made-up part of a corpus.

    Attributes:
      audio: Paths of audio files.
      rows: What is read of them.
      tables: Other files by path.
      unmapped: Clips per published label that are no class.
      left_out: Ends of the paths of audio files that take no part.
      quadrants: Whether the rows are those of quadrants.
    """

    audio: tuple[str, ...]
    rows: tuple[tuple[str, str, str, str], ...]
    tables: dict[str, str] = {}  # noqa: RUF012
    unmapped: dict[str, int] = {}  # noqa: RUF012
    left_out: tuple[str, ...] = ()
    quadrants: bool = False


IEMOCAP_TURNS = (
    "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
    "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
    "[10.0100 - 11.3925]\tSes01F_impro01_M000\texc\t[4.0000, 3.5000, 3.0000]\n\n"
    "[12.0100 - 13.3925]\tSes01F_impro01_F001\tfru\t[2.0000, 3.5000, 3.0000]\n\n"
    "[14.8872 - 18.0175]\tSes01F_impro01_M001\txxx\t[2.5000, 2.5000, 2.5000]\n\n"
)
IEMOCAP_AUDIO = (
    *(f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{t}.wav" for t in ("F000", "M000")),
    *(f"Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_{t}.wav" for t in ("F001", "M001")),
    "Session1/dialog/wav/Ses01F_impro01.wav",
)
IEMOCAP_TABLES = {
    "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": IEMOCAP_TURNS,
    "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e1_cat.txt": "Ses01F :Anger; ()",
}
MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season\n"
JAMENDO_HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"

LAYOUTS: dict[str, Layout] = {
    "crema_d": Layout(
        audio=(
            "AudioWAV/1001_DFA_ANG_XX.wav",
            "AudioMP3/1001_DFA_ANG_XX.mp3",
            "AudioWAV/1002_IEO_HAP_HI.wav",
            "AudioWAV/1040_ITH_SAD_X.wav",
            "AudioWAV/notes.wav",
        ),
        rows=(
            ("1001_DFA_ANG_XX.wav", "angry", "1001", ""),
            ("1002_IEO_HAP_HI.wav", "happy", "1002", ""),
            ("1040_ITH_SAD_X.wav", "sad", "1040", ""),
        ),
        left_out=("AudioMP3/1001_DFA_ANG_XX.mp3", "notes.wav"),
    ),
    "emodb": Layout(
        audio=("wav/03a01Fa.wav", "wav/08b10Lc.wav", "wav/16a07W.wav"),
        rows=(
            ("16a07W.wav", "angry", "16", ""),
            ("08b10Lc.wav", "bored", "08", ""),
            ("03a01Fa.wav", "happy", "03", ""),
        ),
    ),
    "tess": Layout(
        audio=(
            "OAF_angry/OAF_back_angry.wav",
            "OAF_neutral/OA_bite_neutral.wav",
            "YAF_pleasant_surprised/YAF_dog_ps.wav",
        ),
        rows=(
            ("OAF_back_angry.wav", "angry", "OA", ""),
            ("OA_bite_neutral.wav", "neutral", "OA", ""),
            ("YAF_dog_ps.wav", "surprised", "YA", ""),
        ),
    ),
    "savee": Layout(
        audio=("AudioData/DC/a01.wav", "AudioData/KL/sa15.wav", "ALL/JE_su02.wav"),
        rows=(
            ("DC/a01.wav", "angry", "DC", ""),
            ("KL/sa15.wav", "sad", "KL", ""),
            ("JE_su02.wav", "surprised", "JE", ""),
        ),
    ),
    "iemocap_4": Layout(
        audio=IEMOCAP_AUDIO,
        tables=IEMOCAP_TABLES,
        rows=(("M000.wav", "happy", "Ses01M", ""), ("F000.wav", "neutral", "Ses01F", "")),
        unmapped={"fru": 1, "xxx": 1},
        left_out=("dialog/wav/Ses01F_impro01.wav",),
    ),
    "iemocap_6": Layout(
        audio=IEMOCAP_AUDIO,
        tables=IEMOCAP_TABLES,
        rows=(
            ("M000.wav", "excited", "Ses01M", ""),
            ("F001.wav", "frustrated", "Ses01F", ""),
            ("F000.wav", "neutral", "Ses01F", ""),
        ),
        unmapped={"xxx": 1},
        left_out=("dialog/wav/Ses01F_impro01.wav",),
    ),
    "msp_podcast": Layout(
        audio=tuple(f"Audios/MSP-PODCAST_000{i}_0008.wav" for i in range(1, 6)),
        tables={
            "Labels/labels_concensus.csv": (
                "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
                "MSP-PODCAST_0001_0008.wav,N,5.2,4.2,5.4,127,Male,Train\n"
                "MSP-PODCAST_0002_0008.wav,A,5.8,2.4,6.0,Unknown,Female,Validation\n"
                "MSP-PODCAST_0003_0008.wav,H,4.8,4.0,5.2,130,Female,Test1\n"
                "MSP-PODCAST_0004_0008.wav,H,4.8,4.0,5.2,131,Female,Test2\n"
                "MSP-PODCAST_0005_0008.wav,X,4.8,4.0,5.2,127,Male,Train\n"
            )
        },
        rows=(
            ("0002_0008.wav", "angry", "unknown in 0002", "dev"),
            ("0003_0008.wav", "happy", "130", "test"),
            ("0001_0008.wav", "neutral", "127", "train"),
        ),
        unmapped={"X": 1, "part Test2": 1},
    ),
    "msp_improv": Layout(
        audio=(
            "session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
            "session6/S20H/S/MSP-IMPROV-S20H-M06-S-MM02.wav",
        ),
        tables={
            "Evaluation.txt": (
                "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:3.200000; V:2.000000; D:3.4 ; N:4.1;\n"
                "worker1; Angry; Angry; A:3; V:2; D:3; N:4; U\n\n"
                "UTD-IMPROV-S20H-M06-S-MM02.avi; X; A:3.0; V:3.0; D:NaN ; N:4.1;\n"
            )
        },
        rows=(("FM01.wav", "angry", "F01", ""),),
        unmapped={"X": 1},
    ),
    "esd": Layout(
        audio=(
            "0011/Angry/train/0011_000371.wav",
            "0011/Happy/evaluation/0011_000701.wav",
            "0001/Surprise/0001_001401.wav",
        ),
        rows=(
            ("0011_000371.wav", "angry", "0011", "train"),
            ("0011_000701.wav", "happy", "0011", "dev"),
            ("0001_001401.wav", "surprised", "0001", ""),
        ),
    ),
    "jl_corpus": Layout(
        audio=tuple(
            f"Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/{name}.wav"
            for name in ("female2_excited_3a_2", "male1_angry_10a_1", "male2_anxious_1b_1")
        ),
        rows=(
            ("male1_angry_10a_1.wav", "angry", "male1", ""),
            ("female2_excited_3a_2.wav", "excited", "female2", ""),
        ),
        unmapped={"anxious": 1},
    ),
    "meld": Layout(
        audio=(
            "train_splits/dia0_utt0.wav",
            "dev_splits_complete/dia0_utt0.wav",
            "output_repeated_splits_test/dia0_utt0.wav",
            "output_repeated_splits_test/final_videos_testdia0_utt0.wav",
        ),
        tables={
            "train_sent_emo.csv": f'{MELD_HEADER}1,"also, me",Rachel,neutral,neutral,0,0,8\n',
            "dev_sent_emo.csv": f"{MELD_HEADER}1,Oh no,Phoebe,sadness,negative,0,0,4\n",
            "test_sent_emo.csv": f"{MELD_HEADER}1,Why do,Mark,joy,positive,0,0,3\n",
        },
        rows=(
            ("test/dia0_utt0.wav", "happy", "Mark", "test"),
            ("train_splits/dia0_utt0.wav", "neutral", "Rachel", "train"),
            ("dev_splits_complete/dia0_utt0.wav", "sad", "Phoebe", "dev"),
        ),
        left_out=("final_videos_testdia0_utt0.wav",),
    ),
    "emovo": Layout(
        audio=("f1/dis-f1-b1.wav", "m3/gio-m3-n5.wav"),
        rows=(("dis-f1-b1.wav", "disgust", "f1", ""), ("gio-m3-n5.wav", "happy", "m3", "")),
    ),
    "aesdd": Layout(
        audio=("anger/a01 (1).wav", "sadness/s05 (3).wav"),
        rows=(("a01 (1).wav", "angry", "1", ""), ("s05 (3).wav", "sad", "3", "")),
    ),
    "emopia": Layout(
        audio=tuple(f"audios/seg/{n}.mp3" for n in ("Q1_0vLPYiPN7qY_1", "Q3__BK2o77sTc0_2")),
        tables={
            "split/train.csv": "fname,label\nQ1_0vLPYiPN7qY_1,Q1\n",
            "split/val.csv": "fname,label\nQ3__BK2o77sTc0_2,Q3\n",
        },
        rows=(
            ("Q1_0vLPYiPN7qY_1.mp3", "Q1", "0vLPYiPN7qY", "train"),
            ("Q3__BK2o77sTc0_2.mp3", "Q3", "_BK2o77sTc0", "dev"),
        ),
        quadrants=True,
    ),
    "pmemo": Layout(
        audio=("chorus/1.mp3", "chorus/4.mp3", "chorus/5.mp3"),
        tables={
            "annotations/static_annotations.csv": (
                "musicId,Arousal(mean),Valence(mean)\n1,0.8,0.25\n4,0.3,0.9\n5,0.5,0.2\n"
            ),
            "metadata.csv": (
                "musicId,fileName,title,artist,album,duration\n1,1.mp3,Good,Ann,A,9\n4,4.mp3,B,Bo,A,9\n"
            ),
        },
        rows=(("chorus/1.mp3", "Q2", "Ann", ""), ("chorus/4.mp3", "Q4", "Bo", "")),
        unmapped={"no label": 1},
        quadrants=True,
    ),
    "deam": Layout(
        audio=("MEMD_audio/2.mp3", "MEMD_audio/2001.mp3"),
        tables={
            f"annotations/annotations averaged per song/song_level/{name}.csv": (
                f"song_id, valence_mean, valence_std, arousal_mean, arousal_std\n{row}\n"
            )
            for name, row in (
                ("static_annotations_averaged_songs_1_2000", "2,3.1,0.94,3,0.63"),
                ("static_annotations_averaged_songs_2000_2058", "2001,6,1,7.5,1"),
            )
        },
        rows=(("/2001.mp3", "Q1", "song 2001", ""), ("/2.mp3", "Q3", "song 2", "")),
        quadrants=True,
    ),
    "emomusic": Layout(
        audio=("clips_45seconds/2.mp3", "clips_45seconds/3.mp3"),
        tables={
            "annotations/songs_info.csv": (
                "song_id,file_name,Artist,Song title,Genre,Mediaeval 2013 set\n"
                "2,2.mp3,\tThe  Kilo,\tTonight A,\tBlues,development\n"
                "3,3.mp3,\tBerlin,\tOld,\tBlues,evaluation\n"
            ),
            "annotations/static_annotations.csv": (
                "song_id,mean_arousal,std_arousal,mean_valence,std_valence\n"
                "2,3.1,0.99,6.7,1.33\n3,7.5,1.58,3.3,1.95\n"
            ),
        },
        rows=(
            ("/3.mp3", "Q2", "berlin", "test"),
            ("/2.mp3", "Q4", "the kilo", "train"),
        ),
        quadrants=True,
    ),
    "emotify": Layout(
        audio=("emotifymusic/classical/100.mp3", "emotifymusic/rock/1.mp3"),
        tables={
            "data.csv": (
                "track id, genre, amazement, solemnity, tenderness, nostalgia, calmness, power,"
                " joyful_activation, tension, sadness, mood, liked\n"
                "100,classical,0,0,0,0,1,0,0,0,1,3,0\n100,classical,0,0,0,0,1,0,0,0,0,3,0\n"
                "101,rock,1,0,0,0,0,0,0,0,0,3,0\n"
            )
        },
        rows=(("classical/100.mp3", "calm", "classical/100", ""),),
        unmapped={"amazement": 1},
    ),
    "mtg_jamendo": Layout(
        audio=("00/100.mp3", "01/101.mp3", "02/102.mp3"),
        tables={
            f"data/splits/split-{split}/autotagging_moodtheme-{part}.tsv": JAMENDO_HEADER + row
            for split in (0, 1)
            for part, row in (
                (
                    "train",
                    "track_100\ta_1\tb_1\t00/100.mp3\t9.5\tmood/theme---happy\tmood/theme---film\n",
                ),
                ("validation", "track_101\ta_2\tb_2\t01/101.mp3\t9.5\tmood/theme---sad\n"),
                (
                    "test",
                    "track_102\ta_3\tb_3\t02/102.mp3\t9\tmood/theme---happy\tmood/theme---sad\n",
                ),
            )
        },
        rows=(("100.mp3", "happy", "a_1", "train"), ("101.mp3", "sad", "a_2", "dev")),
        unmapped={"happy, sad": 1},
    ),
    "four_q": Layout(
        audio=("Q1/MT0000004637.mp3", "Q4/MT0000011357.mp3"),
        tables={"panda_dataset_taffc_annotations.csv": "Song,Quadrant\nMT0000004637,Q1\n"},
        rows=(
            ("MT0000004637.mp3", "Q1", "MT0000004637", ""),
            ("MT0000011357.mp3", "Q4", "MT0000011357", ""),
        ),
        quadrants=True,
    ),
    "soundtracks": Layout(
        audio=("Set1/001.mp3", "Set1/002.mp3", "Set1/003.mp3"),
        tables={
            "mean_ratings_set1.csv": (
                "Number,valence,energy,tension,anger,fear,happy,sad,tender,TARGET\n"
                "1,3.83,5.33,5.5,1,1,1,4,1,SAD\n2,7.0,6.0,2,1,1,8,1,1,HAPPY_HIGH\n"
                "3,5.0,6.0,2,1,1,8,1,1,ENERGY_POS\nmean,5,5,2,1,1,8,1,1,\n"
            )
        },
        rows=(
            ("002.mp3", "happy", "Set1/002", ""),
            ("001.mp3", "sad", "Set1/001", ""),
        ),
        unmapped={"energy": 1},
    ),
}
