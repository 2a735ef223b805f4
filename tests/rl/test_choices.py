import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import MistralConfig, MistralForCausalLM
from trl import GRPOConfig

from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.vocabulary import expand
from gr2.rl.choices import pad_decisions, roll_out_choices
from gr2.rl.scoring import score_answers
from gr2.rl.trainer import Batch, RerankingTrainer
from gr2.samplers.structured_answers import StructuredAnswer, pack_decisions

GROUP = 8


def make_rows(sizes: list[int], has_trace: bool = False) -> list[dict]:
    """Rows of slates with as many candidates as `sizes` says, some of which share their first code."""
    rows = []
    for number, size in enumerate(sizes):
        sids = [sid_string([index // 2, (index + number) % 6]) for index in range(size)]
        array = {"type": "array", "items": {"enum": sids}, "minItems": size, "maxItems": size, "uniqueItems": True}
        fields = {"explanation": {"type": "string", "cites": sids[:2]}} if has_trace else {}
        schema = {"type": "object", "properties": fields | {"recommendations": array}}
        prompt = [{"role": "user", "content": f"Slate {number} " + " ".join(sids)}]
        rows.append({"prompt": prompt, "schema": json.dumps(schema), "slate_id": f"s{number}", "candidates": sids})
    return rows


def reward_nothing(completions, **_) -> list[float]:
    return [0.0] * len(completions)


def make_trainer(folder: Path, rows: list[dict], window: int = 0, **options) -> RerankingTrainer:
    """A trainer of a random model, with a window of attention if there is one."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(['{"explanation": "", "recommendations": ["", ""]}'] * 3, 300)
    model = small_model(tokenizer, 32, 2, 2, 512, seed=0)
    if window:
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        heads = {"num_key_value_heads": 1, "sliding_window": window, "initializer_range": 0.2}
        model = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), pad_token_id=0, **shape, **heads))
    expand(model, tokenizer, vocabulary(2, 8), seed=0)
    chosen = {"per_device_train_batch_size": GROUP * len(rows), "num_generations": GROUP, "bf16": False} | options
    args = GRPOConfig(str(folder), max_completion_length=160, report_to="none", use_cpu=True, **chosen)
    more = {"processing_class": tokenizer, "max_resamples": 0, "structured": True}
    return RerankingTrainer(model, [reward_nothing], args, Dataset.from_list(rows), **more)


@pytest.mark.parametrize("has_trace", [False, True], ids=["list", "trace"])
def test_decisions_are_the_tokens_that_were_drawn_among_several(tmp_path, has_trace):
    rows = make_rows([5, 1, 3], has_trace)
    trainer = make_trainer(tmp_path, rows)
    repeated = [row for row in rows for _ in range(GROUP)]
    rolled = roll_out_choices([row["prompt"] for row in repeated], trainer, repeated)
    words = -(-len(trainer.processing_class) // 32)
    for row, ids, mask, (places, masks) in zip(
        repeated, rolled["completion_ids"], rolled["env_mask"], rolled["decisions"], strict=True
    ):
        assert np.flatnonzero(mask).tolist() == places and len(mask) == len(ids) and masks.shape == (len(places), words)
        bits = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")
        assert all(bits[index, ids[place]] for index, place in enumerate(places)) and (bits.sum(1) > 1).all()
        text = trainer.processing_class.decode(ids, skip_special_tokens=True)
        if ids[-1] in trainer.eos_token_ids:
            assert sorted(json.loads(text)["recommendations"]) == sorted(row["candidates"])
        assert has_trace or len(places) <= 2 * (len(row["candidates"]) - 1)
    lists = {tuple(ids) for ids in rolled["completion_ids"][:GROUP]}
    assert len(lists) > 1, "a group's answers are drawn apart from one another"


@pytest.mark.parametrize(("has_trace", "window"), [(False, 0), (True, 0), (False, 20)], ids=["list", "trace", "window"])
def test_the_loss_sees_the_probabilities_that_were_sampled_from_and_their_whole_gradient(tmp_path, has_trace, window):
    """Against all logits of the sequence: log-softmax among the admitted tokens, at every decision."""
    rows = make_rows([4, 6], has_trace)
    trainer = make_trainer(tmp_path, rows, window, temperature=1.3)
    rows = [rows[0], rows[1], rows[0], rows[0]]  # three answers share a prompt
    rolled = roll_out_choices([row["prompt"] for row in rows], trainer, rows)
    model, pad = trainer.model, trainer.processing_class.pad_token_id
    longest = [max(map(len, rolled[name])) for name in ("prompt_ids", "completion_ids")]
    texts = [
        [pad] * (longest[0] - len(prompt)) + prompt + answer + [pad] * (longest[1] - len(answer))
        for prompt, answer in zip(rolled["prompt_ids"], rolled["completion_ids"], strict=True)
    ]
    ids, mask = torch.tensor(texts), torch.ones(len(texts), sum(longest), dtype=torch.int64)
    for row, (prompt, answer) in enumerate(zip(rolled["prompt_ids"], rolled["completion_ids"], strict=True)):
        mask[row, : longest[0] - len(prompt)] = 0
        mask[row, longest[0] + len(answer) :] = 0
    trainer.batch = Batch([], decisions=pad_decisions(rolled["decisions"], "cpu"))
    logps, entropies, _ = score_answers(trainer, model, ids, mask, longest[1])
    by_three = score_answers(trainer, model, ids, mask, longest[1], batch_size=3)
    assert torch.allclose(by_three[0], logps, atol=1e-5) and torch.allclose(by_three[1], entropies, atol=1e-4)
    logps.sum().backward()
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    logits = model(ids, attention_mask=mask).logits / 1.3
    total = 0.0
    for row, (places, masks) in enumerate(rolled["decisions"]):
        bits = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")
        for place, among in zip(places, bits, strict=True):
            admitted = torch.from_numpy(among.nonzero()[0])
            scores = logits[row, longest[0] + place - 1, admitted].log_softmax(0)
            chosen = scores[(admitted == ids[row, longest[0] + place]).nonzero().item()]
            assert logps[row, place].item() == pytest.approx(chosen.item(), abs=1e-5)
            entropy = -(scores.exp() * scores).sum().item()
            assert entropies[row, place].item() == pytest.approx(entropy, abs=1e-4)
            total = total + chosen
        forced = torch.ones(longest[1], dtype=torch.bool)
        forced[places] = False
        assert not logps[row, forced].any() and not entropies[row, forced].any()
    total.backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        close = 1e-5 * max(1.0, parameter.grad.abs().max().item())  # float32, sums in another order
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=close)


def test_the_mean_over_tokens_counts_choices(tmp_path):
    """TRL's number of items in a batch is that of the decisions."""
    trainer = make_trainer(tmp_path, make_rows([4, 6]))
    rows = [row for row in trainer.train_dataset for _ in range(GROUP)]
    scored = trainer._generate_and_score_completions(rows)
    assert scored["num_items_in_batch"] == scored["tool_mask"].mul(scored["completion_mask"]).sum()
    assert scored["num_items_in_batch"] == (scored["places"] >= 0).sum() < scored["completion_mask"].sum() / 4


def test_in_bfloat16_a_copy_answers_and_the_trained_weights_stay_as_they_are(tmp_path):
    rows = make_rows([5, 5])
    trainer = make_trainer(tmp_path, rows, bf16=True)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    roll_out_choices([row["prompt"] for row in rows], trainer, rows)
    after = trainer.model.state_dict()
    assert all(value.dtype == torch.float32 and value.equal(before[name]) for name, value in after.items())
    assert {parameter.dtype for parameter in trainer.half.parameters()} == {torch.bfloat16}
    assert {buffer.dtype for buffer in trainer.half.buffers()} == {torch.float32}, "frequencies of positions"
    with torch.no_grad():
        trainer.model.get_input_embeddings().weight.mul_(-1)
    roll_out_choices([row["prompt"] for row in rows], trainer, rows)
    pairs = zip(trainer.half.parameters(), trainer.model.parameters(), strict=True)
    assert all(mine.equal(theirs.bfloat16()) for mine, theirs in pairs)


def test_an_explanation_that_is_cut_off_has_decisions_but_no_list(tmp_path):
    rows = make_rows([4], has_trace=True)
    trainer = make_trainer(tmp_path, rows)
    trainer.max_completion_length = 60
    rolled = roll_out_choices([rows[0]["prompt"]] * 4, trainer, rows * 4)
    ids = rolled["completion_ids"]
    cut = [row for row in range(4) if ids[row][-1] not in trainer.eos_token_ids]
    assert cut and all(len(row) <= 60 for row in ids) and all(rolled["decisions"][row][0] for row in cut)


def test_packing_sets_a_bit_for_each_token():
    from gr2.choices.walk import Choice

    places, masks = pack_decisions(StructuredAnswer([1, 2, 3], [0.0], None, [Choice(1, 33, [33, 63, 64])]), words=3)
    bits = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")
    assert places == [1] and bits[0].nonzero()[0].tolist() == [33, 63, 64]
