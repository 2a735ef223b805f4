import pyarrow
import pytest
import torch

from gr2.errors import InputError
from gr2.sft.choice_loss import ChoiceCollator
from gr2.sft.encoding import check_lengths, encode_all
from tests.sft.test_choice_loss import SHARES, make_row
from tests.sft.test_weighting import TOKENIZER, weighted_rows


def test_the_longest_example_may_not_exceed_max_length(capsys):
    check_lengths([3, 9, 5], 9)
    check_lengths([3, 9, 5], None)
    assert capsys.readouterr().out == 2 * "tokens an example: median 5, longest 9\n"
    with pytest.raises(InputError, match="--max_length 8: the longest example has 9 tokens"):
        check_lengths([3, 9, 5], 8)


def test_a_batch_from_the_table_is_the_batch_of_the_rows():
    """Numbers are stored in 32 bits, in which a batch has its weights and shares anyway."""
    rows = [make_row([2, 1, 0, 3], SHARES[0], "Drama again."), make_row([0, 1, 2, 3], SHARES[1])]
    table = encode_all([0, 1], lambda index: rows[index])
    collate = ChoiceCollator(TOKENIZER.pad_token_id, False)
    expected, found = collate(rows), collate([table[0], table[1]])
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_examples_without_lessons_have_no_column_for_them():
    rows = weighted_rows(0.3, 1.0)
    table = encode_all(list(range(len(rows))), lambda index: rows[index])
    assert table.column_names == ["input_ids", "labels", "weights"]
    assert {column.type.value_type for column in table.data.columns} == {pyarrow.int32(), pyarrow.float32()}
