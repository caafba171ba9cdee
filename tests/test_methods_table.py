"""The table of docs/methods.md is what its tool makes today."""

import pytest
from write_methods_table import MARKS, PAGE, size_of, table

from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import parameter_shapes
from jaxemo.peft import make_method


@pytest.mark.slow
def test_the_page_has_the_table_that_the_tool_makes():
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(MARKS[0])[2].partition(MARKS[1])[0] == table()


def test_sizes_are_those_that_one_counts_by_hand():
    config = EncoderConfig()
    size = size_of(make_method("lora", rank=8), config, parameter_shapes(config))
    # 12 layers, q and v, A of 768 x 8 and B of 8 x 768.
    assert size.parameters == 12 * 2 * 2 * 768 * 8
    head = 13 + 768 * 256 + 256 + 256 * 8 + 8
    assert size.checkpoint_bytes == 4 * (size.parameters + head + 2 * 13 * 768)
