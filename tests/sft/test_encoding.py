import pytest

from gr2.errors import InputError
from gr2.sft.encoding import check_lengths


def test_the_longest_example_may_not_exceed_max_length(capsys):
    check_lengths([3, 9, 5], 9)
    check_lengths([3, 9, 5], None)
    assert capsys.readouterr().out == 2 * "tokens an example: median 5, longest 9\n"
    with pytest.raises(InputError, match="--max_length 8: the longest example has 9 tokens"):
        check_lengths([3, 9, 5], 8)
