"""What published models call the emotions, and what they are called here: one table, no other rule."""

_NAMES = {
    "neutral": ("neutral", "neu", "neutrality"),
    "calm": ("calm", "calmness"),
    "happy": ("happy", "hap", "happiness", "joy", "joyful"),
    "sad": ("sad", "sadness"),
    "angry": ("angry", "ang", "anger"),
    "fearful": ("fearful", "fear", "fea", "scared"),
    "disgust": ("disgust", "dis", "disgusted"),
    "surprised": ("surprised", "sur", "surprise", "pleasant_surprise"),
    "bored": ("bored", "bor", "boredom"),
    "excited": ("excited", "exc", "excitement"),
    "frustrated": ("frustrated", "fru", "frustration"),
}
# Published name, in lower case -> emotion.
EMOTION_OF_LABEL = {name: emotion for emotion, names in _NAMES.items() for name in names}


def emotion_of(label: str) -> str | None:
    """The emotion that a published label means, whatever its case; None for one that is not in the table."""
    return EMOTION_OF_LABEL.get(label.strip().lower())
