import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.rl.groups import draw_rows, find_spread, pair_rows, round_to_groups

flags = st.lists(st.booleans(), max_size=12)


@given(flags, flags, st.integers(1, 4))
def test_groups_without_spread_are_replaced_by_groups_that_have_it(spread, fresh, size):
    pairs = pair_rows(spread, fresh, size)
    assert len(pairs) == size * min(spread.count(False), fresh.count(True))
    assert not any(spread[row // size] for row, _ in pairs) and all(fresh[row // size] for _, row in pairs)
    assert len({row for row, _ in pairs}) == len({source for _, source in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    assert all(row % size == source % size for row, source in pairs), "a group was split"


@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1))
def test_spread_is_more_than_one_value_in_a_group(groups):
    rewards = torch.tensor(groups, dtype=torch.float32).view(-1) / 7 + 0.2
    assert find_spread(rewards, 3) == [len(set(group)) > 1 for group in groups]


@given(st.integers(1, 20), st.integers(2, 16), st.integers(1, 8))
def test_the_groups_drawn_are_the_fewest_that_share_out_evenly(wanted, group_size, processes):
    count = round_to_groups(wanted, group_size, processes)
    assert count >= wanted and count * group_size % processes == 0
    assert not any(fewer * group_size % processes == 0 for fewer in range(wanted, count))


@given(st.lists(st.integers(0, 9), max_size=30), st.sets(st.integers(0, 9)), st.integers(0, 5))
def test_other_rows_are_drawn_once_each(ids, taken, seed):
    rows = [{"slate_id": number} for number in ids]
    drawn = [row["slate_id"] for row in draw_rows(rows, taken, [seed, 0])]
    assert sorted(drawn) == sorted(set(ids) - taken)
    assert drawn == [row["slate_id"] for row in draw_rows(rows, taken, [seed, 0])]
