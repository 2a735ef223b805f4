import math

import pytest
import torch
from datasets import Dataset
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl import SFTConfig

from gr2.choices.drawing import Drawing
from gr2.choices.spelling import spell
from gr2.choices.walk import ListWriter
from gr2.choices.write import begin, score_first
from gr2.sft.choice_loss import ChoiceCollator, ChoiceTrainer, choice_losses
from gr2.sft.encoding import encode
from gr2.sft.teacher import plan_lessons
from gr2.training import train
from tests.sft.test_weighting import ANSWERS, MESSAGES, SETTINGS, SIDS, TOKENIZER, answer, made

SHARES = [[0.1, 0.2, 0.65, 0.05], [0.7, 0.1, 0.1, 0.1]]


def make_row(order, shares, reasoning=None):
    """A row as `encode_choices` makes it, of SIDS in this order."""
    row = encode(MESSAGES, answer(reasoning, *order), TOKENIZER, 0.5, 1.0)
    spelling = spell(TOKENIZER, SIDS)
    start = len(row["labels"]) - len(spelling.write(order))
    head = row["weights"][:start] if reasoning else [0.0] * start
    row["weights"] = head + [0.0] * (len(row["weights"]) - start)
    lessons = [vars(lesson) for lesson in plan_lessons(spelling, order, shares)]
    return row | {"lessons": [lesson | {"place": start + lesson["place"]} for lesson in lessons]}


def trainer_of(model, rows, folder, **settings):
    config = SFTConfig(
        output_dir=str(folder),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        **SETTINGS | settings,
    )
    collator = ChoiceCollator(TOKENIZER.pad_token_id, False)
    return ChoiceTrainer(model, config, collator, Dataset.from_list(rows), processing_class=TOKENIZER)


def loss_by_hand(model, row):
    """(sum of weighted losses, sum of weights) from whole logits, one token after the other."""
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
    total = weight = 0.0
    for place, (label, own) in enumerate(zip(row["labels"], row["weights"], strict=True)):
        if own:
            total, weight = total - own * logits[place - 1].log_softmax(0)[label], weight + own
    for lesson in row["lessons"]:
        log_probs = logits[lesson["place"] - 1][lesson["among"]].log_softmax(0)
        total = total - lesson["weight"] * (torch.tensor(lesson["shares"]) * log_probs).sum()
        weight += lesson["weight"]
    return total, weight


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("reasoning", [None, "Drama again."])
def test_the_loss_is_that_of_whole_logits(tmp_path, reasoning, window):
    """With an explanation the first row is longer, and the second is padded."""
    model, _ = made(window)
    rows = [make_row([2, 1, 0, 3], SHARES[0], reasoning), make_row([0, 1, 2, 3], SHARES[1])]
    assert (len(rows[0]["input_ids"]) > len(rows[1]["input_ids"])) == bool(reasoning)
    trainer = trainer_of(model, rows, tmp_path)
    loss = trainer.compute_loss(model, trainer.data_collator(rows))
    parts = [loss_by_hand(model, row) for row in rows]
    expected = sum(total for total, _ in parts) / sum(weight for _, weight in parts)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("coefficient", [0.0, 0.5])
def test_a_mixture_of_experts_has_its_balancing_loss_too(tmp_path, coefficient):
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(vocab_size=len(TOKENIZER), head_dim=16, **size, **experts))
    rows = [make_row([2, 1, 0, 3], SHARES[0], "Drama again."), make_row([0, 1, 2, 3], SHARES[1])]
    trainer = trainer_of(model, rows, tmp_path, router_aux_loss_coef=coefficient)
    batch = trainer.data_collator(rows)
    ids = {name: batch[name] for name in ("input_ids", "attention_mask")}
    parts = [loss_by_hand(model, row) for row in rows]
    lists = sum(total for total, _ in parts) / sum(weight for _, weight in parts)
    balance = model(**ids, output_router_logits=True).aux_loss
    assert balance > 1 and batch["attention_mask"].min() == 0
    loss = trainer.compute_loss(model, batch)
    assert loss.item() == pytest.approx((lists + coefficient * balance).item(), rel=1e-5)
    trainer.current_gradient_accumulation_steps = 2
    half = trainer.compute_loss(model, batch, num_items_in_batch=2 * sum(weight for _, weight in parts))
    assert half.item() == pytest.approx(loss.item() / 2, rel=1e-5)


def test_two_small_batches_have_the_gradient_of_a_large_one(tmp_path):
    rows = [make_row([2, 1, 0, 3], SHARES[0]), make_row([0, 1, 2, 3], SHARES[1], "So the drama comes first.")]
    weights = []
    for name, size in {"large": (2, 1), "small": (1, 2)}.items():
        model, _ = made()
        settings = {"per_device_train_batch_size": size[0], "gradient_accumulation_steps": size[1], "max_steps": 1}
        train(trainer_of(model, rows, tmp_path / name, optim="sgd", learning_rate=0.1, **settings))
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert torch.allclose(*weights, atol=1e-6)
    assert not torch.equal(weights[0], torch.cat([weight.detach().flatten() for weight in made()[0].parameters()]))


def test_the_least_loss_is_the_entropy_of_the_shares():
    among, shares = torch.tensor([[1, 3, 0]]), torch.tensor([[0.25, 0.75, 0.0]])
    logits = torch.full((1, 5), 7.0)
    logits[0, 1], logits[0, 3] = math.log(0.25), math.log(0.75)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert choice_losses(logits, among, shares).item() == pytest.approx(entropy)


def test_a_model_learns_its_teachers_probabilities(tmp_path):
    model, _ = made()
    trainer = trainer_of(model, [make_row([2, 1, 0, 3], SHARES[0])] * 4, tmp_path, num_train_epochs=60)
    train(trainer)
    prompt = encode(MESSAGES, ANSWERS[3], TOKENIZER, 1.0, 1.0)
    prompt = prompt["input_ids"][: prompt["labels"].count(-100)]
    spelling = spell(TOKENIZER, SIDS)
    writers = [ListWriter(spelling, prompt + spelling.opening, Drawing())]
    with torch.inference_mode():
        (scores,) = score_first(begin(model.eval(), writers, False), writers)
    assert [math.exp(score) for score in scores] == pytest.approx(SHARES[0], abs=0.05)
    assert trainer.state.log_history[-2]["choice_agreement"] == 1
