"""The files of an embedding folder by themselves: what they cannot hold is said."""

import numpy as np
import pytest

from jaxemo.embedding import files as embedding_files


def test_values_that_half_precision_cannot_hold_are_an_error(tmp_path):
    folder = tmp_path / "x"
    embedding_files.start(folder, {"dtype": "float16", "shapes": {"pooled": [2, 1, 3]}})
    with embedding_files.EmbeddingWriter(folder) as writer:
        writer.write_pooled(0, np.full((1, 3), 6e4))
        with pytest.raises(ValueError, match=r"row 1: .* float16.* 70000"):
            writer.write_pooled(1, np.full((1, 3), 7e4))


def test_too_little_room_on_the_disk_is_said_before_any_compute(tmp_path):
    about = {"dtype": "float32", "shapes": {"pooled": [1 << 40, 25, 1024]}}
    with pytest.raises(OSError, match="GB free"):
        embedding_files.start(tmp_path / "x", about)
