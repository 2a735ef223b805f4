import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.samplers.explanations import unpack


@given(st.lists(st.lists(st.booleans(), min_size=64, max_size=64), min_size=1, max_size=4), st.integers(1, 100))
def test_unpacking_a_mask_gives_its_bits(rows, width):
    packed = np.packbits(np.array(rows), axis=1, bitorder="little").view(np.int32)
    expected = [(row + [False] * width)[:width] for row in rows]
    assert unpack(torch.from_numpy(packed), width).tolist() == expected
