import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gr2.choices.legal_search import closed_nodes, node_numbers, search
from gr2.files.sid_tokens import BEGIN, sid_string, vocabulary
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.sequences import code_token_ids, next_item_prompt
from gr2.language_model.vocabulary import expand
from gr2.semantic_ids.trie import build_trie
from tests.helpers import untied_llama

CODES, ITEMS = 4, 13


def made(levels, architecture="qwen3"):
    """(model, tokenizer, codes of the items): random, and far from uniform."""
    tokenizer = train_tokenizer(["One user chose these items, oldest first:"], 300)
    torch.manual_seed(levels)
    if architecture == "llama":
        model = untied_llama(tokenizer)
    else:
        window = 5 if architecture == "window" else None
        model = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=256, seed=levels, local_window=window)
    expand(model, tokenizer, vocabulary(levels, CODES), seed=0)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.3)
    return model.eval(), tokenizer, random_codes(levels)


def random_codes(levels):
    numbers = np.random.default_rng(levels).choice(CODES**levels, ITEMS, replace=False)
    return np.stack([numbers // CODES**level % CODES for level in range(levels)], axis=1)


def prompts_of(codes):
    """Histories of different lengths, one of them empty."""
    sids = [sid_string(row) for row in codes.tolist()]
    return [next_item_prompt(history) for history in (sids[:1], sids[:5], [], sids[3:6] * 3)]


def run(model, tokenizer, codes, prompts, beams, anchors=None, taken=None):
    """taken: pairs of a search and an item that it must not find."""
    levels = codes.shape[1]
    tokenizer.padding_side = "right"
    batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    if anchors is None:
        anchors = batch["attention_mask"].sum(1, keepdim=True) - 1
    code_ids = torch.tensor(code_token_ids(tokenizer, levels))
    trie = build_trie(codes, CODES)
    closed = None if taken is None else closed_nodes(trie, node_numbers(trie, codes), *np.array(taken).reshape(-1, 2).T)
    return search(model, batch["input_ids"], anchors, trie, code_ids, beams, closed)


@torch.inference_mode()
def brute_force(model, tokenizer, codes, prompt):
    """Every item's log-probability after a prompt, each by a pass of its own."""
    start = tokenizer.encode(prompt, add_special_tokens=False)
    code_ids = np.array(code_token_ids(tokenizer, codes.shape[1]))
    scores = []
    for row in codes:
        tail = [int(code_ids[level, code]) for level, code in enumerate(row)]
        log_probs = model(torch.tensor([start + tail])).logits[0].log_softmax(-1)
        scores.append(sum(float(log_probs[len(start) - 1 + at, token]) for at, token in enumerate(tail)))
    return np.array(scores)


@pytest.mark.parametrize(
    ("levels", "architecture"), [(2, "qwen3"), (3, "qwen3"), (4, "qwen3"), (3, "llama"), (3, "window")]
)
def test_a_wide_search_ranks_the_catalogue_as_brute_force_does(levels, architecture):
    model, tokenizer, codes = made(levels, architecture)
    prompts = prompts_of(codes)
    items, scores = run(model, tokenizer, codes, prompts, beams=CODES**levels)
    for row, prompt in enumerate(prompts):
        expected = brute_force(model, tokenizer, codes, prompt)
        assert np.ptp(expected) > 1  # there is something to rank
        assert items[row, 0, :ITEMS].tolist() == np.argsort(-expected).tolist()
        np.testing.assert_allclose(scores[row, 0, :ITEMS], np.sort(expected)[::-1], atol=1e-4)


def test_more_beams_than_items_are_filled_up(levels=3):
    model, tokenizer, codes = made(levels)
    items, scores = run(model, tokenizer, codes, prompts_of(codes), beams=ITEMS + 5)
    assert items.shape == (4, 1, ITEMS + 5)
    assert (items[..., ITEMS:] == -1).all() and (scores[..., ITEMS:] == -torch.inf).all()
    assert (items[..., :ITEMS] >= 0).all() and scores[..., :ITEMS].isfinite().all()


@pytest.mark.parametrize("beams", [1, 2, 5])
def test_a_narrow_search_still_returns_distinct_items_with_their_own_scores(beams):
    model, tokenizer, codes = made(levels=4)
    prompts = prompts_of(codes)
    items, scores = run(model, tokenizer, codes, prompts, beams)
    assert items.shape == (4, 1, beams)
    for row, prompt in enumerate(prompts):
        expected = brute_force(model, tokenizer, codes, prompt)
        found = items[row, 0].tolist()
        assert len(set(found)) == beams and all(0 <= item < ITEMS for item in found)
        np.testing.assert_allclose(scores[row, 0], expected[found], atol=1e-4)
        assert scores[row, 0].tolist() == sorted(scores[row, 0].tolist(), reverse=True)


@pytest.mark.parametrize("architecture", ["qwen3", "window"])
def test_several_places_of_a_row_are_searched_as_prompts_of_their_own(architecture):
    model, tokenizer, codes = made(3, architecture)
    sids = [sid_string(row) for row in codes.tolist()]
    rows = [next_item_prompt(sids[:6]), next_item_prompt(sids[4:7])]
    tokenizer.padding_side = "right"
    ids = tokenizer(rows, return_tensors="pt", padding=True, add_special_tokens=False)["input_ids"]
    opened = [(row == tokenizer.convert_tokens_to_ids(BEGIN)).nonzero()[:, 0] for row in ids]
    anchors = torch.stack([opened[0][[1, 4, 6]], opened[1][[0, 2, 3]]])
    items, scores = run(model, tokenizer, codes, rows, beams=5, anchors=anchors)
    alone = [sids[:1], sids[:4], sids[:6], [], sids[4:6], sids[4:7]]
    for at, history in enumerate(alone):
        one_items, one_scores = run(model, tokenizer, codes, [next_item_prompt(history)], beams=5)
        assert items[at // 3, at % 3].tolist() == one_items[0, 0].tolist()
        np.testing.assert_allclose(scores[at // 3, at % 3], one_scores[0, 0], atol=1e-4)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_taken_items_are_not_found_and_take_no_beams(levels):
    """Each search has other taken items; it finds the best of the others, as many as it has beams."""
    model, tokenizer, codes = made(levels)
    prompts, rng = prompts_of(codes), np.random.default_rng(0)
    taken = [rng.choice(ITEMS, size, replace=False) for size in (0, 4, ITEMS - 2, ITEMS)]
    pairs = [(search, item) for search, items in enumerate(taken) for item in [*items, *items[:2]]]
    wide = run(model, tokenizer, codes, prompts, CODES**levels, taken=pairs)[0]
    narrow = run(model, tokenizer, codes, prompts, 3, taken=pairs)[0]
    for row, (prompt, gone) in enumerate(zip(prompts, taken, strict=True)):
        order = [
            item for item in np.argsort(-brute_force(model, tokenizer, codes, prompt)).tolist() if item not in gone
        ]
        assert wide[row, 0].tolist()[:ITEMS] == order + [-1] * (ITEMS - len(order))
        found = [item for item in narrow[row, 0].tolist() if item >= 0]
        assert len(set(found)) == len(found) == min(3, len(order)) and set(found) <= set(order)


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, ITEMS - 1))))
def test_a_node_is_closed_where_all_its_items_are_taken(taken):
    codes = random_codes(3)
    trie = build_trie(codes, CODES)
    closed = closed_nodes(trie, node_numbers(trie, codes), *np.array(sorted(taken), int).reshape(-1, 2).T)
    for length, keys in enumerate(closed, start=1):
        prefixes = sorted({tuple(row[:length]) for row in codes.tolist()})
        expected = [
            search * ITEMS + node
            for search in range(3)
            for node, prefix in enumerate(prefixes)
            if all((search, item) in taken for item, row in enumerate(codes.tolist()) if tuple(row[:length]) == prefix)
        ]
        assert keys.tolist() == expected


def test_no_generation_config_has_a_say():
    """`generation_config.json` of an instruction model says: sample."""
    model, tokenizer, codes = made(levels=3)
    prompts = prompts_of(codes)
    before = run(model, tokenizer, codes, prompts, beams=4)
    model.generation_config.update(do_sample=True, temperature=5.0, top_k=2, num_beams=7)
    after = run(model, tokenizer, codes, prompts, beams=4)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])
