"""The network on slates of any shape: what it sees, and what its scores depend on."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2 import metrics
from gr2.errors import InputError
from gr2.files.slates import Slate
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.rerankers.one_pass.batch import Example, collate, make_batch
from gr2.rerankers.one_pass.network import HISTORY, PADDING, OnePass, OnePassConfig, new_network, see
from gr2.rerankers.one_pass.rendering import Rendering, letter_ids
from tests.helpers import untied_llama

TITLES = {f"i{number}": f"{number} apple pie " + "and cherry cake " * (number % 4) for number in range(40)}
TITLES["i0"] = ""  # nothing to read but the line's end
NUMBERS = 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TITLES.values(), 300)


def network(tokenizer, base=None, **shape) -> OnePass:
    """Its weights are so large that every token it sees moves its scores."""
    torch.manual_seed(0)
    config = OnePassConfig(hidden_size=8, title_tokens=5, history=3, **shape)
    base = base or small_model(tokenizer, 16, 2, 2, 256, 0, 0.5)
    model = new_network(config, base, letter_ids(Rendering(tokenizer, config, TITLES, {})))
    for name, parameter in model.head.named_parameters():
        if "norm" not in name:
            parameter.data.normal_(std=0.5)
    return model.eval()


@pytest.fixture(scope="module", params=["states", "letters"])
def model(request, tokenizer):
    return network(tokenizer, readout=request.param, inputs=("a", "b", "c") if request.param == "states" else ())


@pytest.fixture(scope="module")
def lister(tokenizer):
    return network(tokenizer, inputs=("a", "b", "c"))


@st.composite
def some_slates(draw, most=12):
    """Slates of one item or many, with repeated histories."""
    items = st.sampled_from(sorted(TITLES))
    made = []
    for number in range(draw(st.integers(1, 4))):
        candidates = draw(st.lists(items, min_size=1, max_size=most, unique=True))
        made.append(Slate(f"s{number}", draw(st.lists(items, min_size=1, max_size=6)), candidates))
    return made


def numbers_of(slate: Slate) -> np.ndarray:
    """Features of a candidate that depend on nothing but it."""
    width = [[int(item_id[1:]) / 10, len(item_id), 1.0] for item_id in slate.candidates]
    return np.array(width)


def scores_of(model: OnePass, tokenizer, slates: list[Slate]) -> list[np.ndarray]:
    rendering = Rendering(tokenizer, model.config, TITLES, {})
    inputs = [numbers_of(slate)[:, : len(model.config.inputs)] for slate in slates]
    with torch.inference_mode():
        padded = model.scores(make_batch(slates, inputs, rendering))
    assert padded.isfinite().sum(1).tolist() == [len(slate.candidates) for slate in slates]
    return [row[: len(slate.candidates)].numpy() for row, slate in zip(padded, slates, strict=True)]


@given(some_slates())
@settings(max_examples=25)
def test_no_slate_changes_another(model, tokenizer, made):
    for slate, together in zip(made, scores_of(model, tokenizer, made), strict=True):
        (alone,) = scores_of(model, tokenizer, [slate])
        assert together == pytest.approx(alone, rel=1e-5, abs=1e-5)


@given(some_slates(), st.integers(0, 99))
@settings(max_examples=25)
def test_permuted_candidates_have_the_permuted_scores(lister, tokenizer, made, seed):
    for slate in made:
        shuffled = slate.shuffled(seed)
        before, after = scores_of(lister, tokenizer, [slate]) + scores_of(lister, tokenizer, [shuffled])
        known = dict(zip(slate.candidates, before, strict=True))
        assert after == pytest.approx([known[item_id] for item_id in shuffled.candidates], rel=1e-5, abs=1e-5)


@given(some_slates())
@settings(max_examples=25)
def test_the_shapes_and_what_each_token_sees(lister, tokenizer, made):
    rendering = Rendering(tokenizer, lister.config, TITLES, {})
    batch = make_batch(made, [numbers_of(slate) for slate in made], rendering)
    visible = see(batch["owner"], batch["position"])
    width = batch["tokens"].shape[1]
    assert visible.shape == (len(made), width, width) and visible.any(2).all()
    for row, slate in enumerate(made):
        past = [token for item_id in slate.history[-3:] for token in rendering.item(item_id)]
        start = len(rendering.opening) + len(past)
        at = start
        for index, item_id in enumerate(slate.candidates):
            own = rendering.item(item_id)
            assert batch["tokens"][row, at : at + len(own)].tolist() == own
            assert batch["position"][row, at : at + len(own)].tolist() == [*range(start, start + len(own))]
            for step in range(len(own)):
                seen = visible[row, at + step].nonzero().flatten().tolist()
                assert seen == [*range(start), *range(at, at + step + 1)]
            at += len(own)
            assert batch["ends"][row, index] == at - 1
        assert visible[row, :start, :start].equal(torch.ones(start, start, dtype=torch.bool).tril())
        assert not visible[row, :at, at:].any() and (batch["owner"][row, at:] == PADDING).all()
        assert batch["mask"][row].sum() == len(slate.candidates) and (batch["owner"][row, :start] == HISTORY).all()


def test_a_state_is_that_of_the_candidate_read_alone(lister, tokenizer):
    """One row of history and candidate under the language model's own causal attention."""
    slate = Slate("s", ["i5", "i6"], ["i3", "i0", "i7"])
    rendering = Rendering(tokenizer, lister.config, TITLES, {})
    batch = make_batch([slate], [numbers_of(slate)], rendering)
    with torch.inference_mode():
        found = lister.read(batch["tokens"], batch["owner"], batch["position"], batch["ends"])[0]
        for item_id, state in zip(slate.candidates, found, strict=True):
            past = [token for item in slate.history for token in rendering.item(item)]
            text = torch.tensor([rendering.opening + past + rendering.item(item_id)])
            alone = lister.language_model(input_ids=text).last_hidden_state[0, -1]
            assert state.numpy() == pytest.approx(alone.numpy(), rel=1e-5, abs=1e-5)


def test_letters_score_by_the_logits_of_the_whole_model(tokenizer):
    base = untied_llama(tokenizer).eval()
    model = network(tokenizer, base, readout="letters")
    rows = letter_ids(Rendering(tokenizer, model.config, TITLES, {}))
    model.head.output.weight.data.copy_(base.lm_head.weight.data[rows])  # as it was made
    slate = Slate("s", ["i5"], ["i3", "i4", "i7"])
    layout = Rendering(tokenizer, model.config, TITLES, {}).lay_out(slate)
    assert tokenizer.decode(layout.tokens).startswith("History:5 apple pie")
    with torch.inference_mode():
        logits = base(input_ids=torch.tensor([layout.tokens])).logits[0, -1, rows[:3]]
    (found,) = scores_of(model, tokenizer, [slate])
    assert found == pytest.approx(logits.numpy(), rel=1e-5, abs=1e-5)


def test_all_that_it_reads_counts(model, tokenizer):
    slate = Slate("s", ["i3", "i4", "i5"], ["i6", "i7", "i9"])
    (before,) = scores_of(model, tokenizer, [slate])
    for changed in (
        Slate("s", ["i4", "i3", "i5"], slate.candidates),
        Slate("s", ["i3", "i4", "i15"], slate.candidates),
        Slate("s", slate.history, ["i6", "i7", "i10"]),
    ):
        (after,) = scores_of(model, tokenizer, [changed])
        assert abs(after[0] - before[0]) > 1e-4
    (longer,) = scores_of(model, tokenizer, [Slate("s", ["i9", *slate.history], slate.candidates)])
    assert longer == pytest.approx(before, abs=1e-5)  # older than the three that it reads


def test_more_candidates_than_letters_are_refused(tokenizer):
    model = network(tokenizer, readout="letters")
    slate = Slate("many", ["i3"], [f"i{number}" for number in range(27)])
    with pytest.raises(InputError, match="expected at most 26 candidates, one a letter; slate_id 'many' has 27"):
        scores_of(model, tokenizer, [slate])


def test_the_loss_and_the_ndcg_by_hand(model, tokenizer):
    slates = [
        Slate("a", ["i3"], ["i0", "i1", "i2"], [1.0, 0.0, 3.0]),
        Slate("b", ["i3", "i6"], ["i5", "i4"], [0.0, 1.0]),
    ]
    targets = [np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.9])]
    inputs = [numbers_of(slate)[:, : len(model.config.inputs)] for slate in slates]
    examples = [Example(*own) for own in zip(slates, inputs, targets, strict=True)]
    with torch.inference_mode():
        found = model(**collate(examples, Rendering(tokenizer, model.config, TITLES, {})))
    losses, gains = [], []
    for slate, own, scores in zip(slates, targets, scores_of(model, tokenizer, slates), strict=True):
        losses.append(-(own * (scores - np.log(np.exp(scores).sum()))).sum())
        gains.append(metrics.ndcg(np.array(slate.labels)[None, (-scores).argsort()], 5)[0])
    assert float(found["loss"]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert found["ndcg"].tolist() == pytest.approx(gains)


def test_titles_cannot_write_tokens(tokenizer, tmp_path):
    pl.DataFrame({"item_id": ["x"], "title": ["a <|im_end|> b"]}).write_parquet(tmp_path / "items.parquet")
    rendering = Rendering.of(tokenizer, OnePassConfig(title_tokens=50), str(tmp_path / "items.parquet"), None)
    assert not {*rendering.item("x")} & {*tokenizer.get_added_vocab().values()}
    assert tokenizer.decode(rendering.item("x")) == "a ‹|im_end|› b\n"


def test_a_saved_network_gives_the_same_scores(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    read = OnePass.from_pretrained(tmp_path).eval()
    slate = Slate("s", ["i3", "i4"], ["i6", "i7", "i8"])
    assert scores_of(read, tokenizer, [slate])[0] == pytest.approx(scores_of(model, tokenizer, [slate])[0], abs=1e-6)
