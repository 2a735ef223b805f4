import json
from pathlib import Path

import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import SFTConfig, SFTTrainer, pack_dataset

from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.chat import IGNORED
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.trainable import add_lora, id_tokens
from gr2.language_model.vocabulary import expand
from gr2.sft.encoding import encode
from gr2.sft.weighting import Collator, WeightedSFTTrainer
from gr2.training import train

SIDS = [sid_string([code, code]) for code in range(4)]
MESSAGES = [{"role": "system", "content": "Rerank."}, {"role": "user", "content": f"Candidates: {' '.join(SIDS)}"}]


def made(local_window: int | None = None):
    """(model, tokenizer) of a few thousand parameters that know the IDs' tokens."""
    tokenizer = train_tokenizer(["The history leans to Drama, so the drama comes first."] * 3, 300)
    model = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=1024, seed=0, local_window=local_window)
    expand(model, tokenizer, vocabulary(2, 4), seed=0)
    return model, tokenizer


MODEL, TOKENIZER = made()


def answer(reasoning: str | None, *order: int) -> str:
    explained = {} if reasoning is None else {"explanation": reasoning}
    return json.dumps(explained | {"recommendations": [SIDS[at] for at in order]}, ensure_ascii=False)


ANSWERS = [
    answer("Drama again.", 2, 0, 1, 3),
    answer("So the drama comes first, as before.", 1, 3, 0, 2),
    answer("No.", 3, 1),
    answer(None, 0, 1, 2, 3),
]


def trainer_of(model, rows, folder, *, in_one_row=False, **settings):
    config = SFTConfig(
        output_dir=str(folder),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        **SETTINGS | settings,
    )
    return WeightedSFTTrainer(
        model,
        config,
        Collator(TOKENIZER.pad_token_id, in_one_row),
        Dataset.from_list(list(rows)),
        processing_class=TOKENIZER,
    )


SETTINGS = {
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 2,
    "num_train_epochs": 2,
}


def weighted_rows(reasoning: float, ranking: float) -> list[dict]:
    return [encode(MESSAGES, text, TOKENIZER, reasoning, ranking) for text in ANSWERS]


def by_hand(model, rows: list[dict]) -> torch.Tensor:
    """sum of weight * -log P(token) / sum of weights, one example after another, from the model's plain logits."""
    total, norm = 0.0, 0.0
    for row in rows:
        logps = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        for at in range(1, len(row["input_ids"])):
            total = total - row["weights"][at] * logps[at - 1, row["input_ids"][at]]
            norm += row["weights"][at]
    return total / norm


def by_trainer(trainer, batches: list[list[dict]]) -> torch.Tensor:
    """The loss of one optimiser step over several accumulated batches."""
    inputs = [trainer.data_collator(batch) for batch in batches]
    total = trainer._get_num_items_in_batch(inputs, torch.device("cpu"))
    return sum(trainer.compute_loss(trainer.model, batch, num_items_in_batch=total) for batch in inputs)


def test_what_is_learned_is_what_trl_learns(tmp_path):
    model, tokenizer = made()
    chats = [{"prompt": MESSAGES, "completion": [{"role": "assistant", "content": text}]} for text in ANSWERS]
    trl = SFTTrainer(
        model,
        SFTConfig(output_dir=str(tmp_path), **SETTINGS),
        train_dataset=Dataset.from_list(chats),
        processing_class=tokenizer,
    ).train_dataset
    ours = [encode(MESSAGES, text, tokenizer, 0.3, 1.0) for text in ANSWERS]
    assert [row["input_ids"] for row in ours] == trl["input_ids"][:]
    assert [row["labels"] for row in ours] == trl["labels"][:]


@given(st.text())
def test_the_reasoning_is_the_text_between_its_quotes(text):
    row = encode(MESSAGES, answer(text, 2, 0), TOKENIZER, 0.3, 1.0)
    parts = {
        weight: [token for token, own in zip(row["input_ids"], row["weights"], strict=True) if own == weight]
        for weight in (0.0, 0.3, 1.0)
    }
    assert TOKENIZER.decode(parts[0.3]) == json.dumps(text, ensure_ascii=False)[1:-1]
    assert (
        TOKENIZER.decode(parts[1.0])
        == f'{{"explanation": "", "recommendations": ["{SIDS[2]}", "{SIDS[0]}"]}}<|im_end|>\n'
    )
    assert TOKENIZER.decode(parts[0.0]).endswith("<|im_start|>assistant\n")
    assert [weight == 0 for weight in row["weights"]] == [label == IGNORED for label in row["labels"]]


def test_an_answer_without_a_trace_is_all_ranking():
    row = encode(MESSAGES, answer(None, 2, 0), TOKENIZER, 0.3, 1.0)
    assert set(row["weights"]) == {0.0, 1.0}


def test_the_loss_is_the_weighted_mean_over_all_accumulated_batches(tmp_path):
    rows = weighted_rows(0.3, 1.0)
    trainer = trainer_of(MODEL, rows, tmp_path)
    for batches in ([rows], [rows[:1], rows[1:]], [[row] for row in rows]):
        torch.testing.assert_close(by_trainer(trainer, batches), by_hand(MODEL, rows))
    assert not torch.isclose(by_hand(MODEL, rows), by_hand(MODEL, weighted_rows(1.0, 1.0)))


def test_padding_is_not_seen_through_a_window_either(tmp_path):
    """Examples of several lengths side by side, without a mask; every token of the first layer sees eight."""
    model, _ = made(local_window=8)
    rows = weighted_rows(0.3, 1.0)
    assert len({len(row["input_ids"]) for row in rows}) > 2
    torch.testing.assert_close(by_trainer(trainer_of(model, rows, tmp_path), [rows]), by_hand(model, rows))


def test_only_the_ratio_of_the_weights_matters(tmp_path):
    trainer = trainer_of(MODEL, weighted_rows(1.0, 1.0), tmp_path)
    halves, ones = (by_trainer(trainer, [weighted_rows(*both)]) for both in ((0.25, 0.5), (0.5, 1.0)))
    torch.testing.assert_close(halves, ones)


def test_equal_weights_are_trls_own_training(tmp_path):
    """But for the last bits: TRL hands on a mask of the padding. Adam would make much of them where a gradient is 0."""
    states = []
    for weighted in (True, False):
        model, _ = made()
        rows, settings = weighted_rows(1.0, 1.0), {"gradient_accumulation_steps": 2, "optim": "sgd"}
        if weighted:
            trainer = trainer_of(model, rows, tmp_path, **settings)
        else:
            rows = [{name: row[name] for name in ("input_ids", "labels")} for row in rows]
            trainer = SFTTrainer(
                model,
                SFTConfig(output_dir=str(tmp_path), **SETTINGS | settings),
                train_dataset=Dataset.from_list(rows),
                processing_class=TOKENIZER,
            )
        trainer.train()
        states.append(model.state_dict())
    torch.testing.assert_close(*states)
    assert not torch.equal(states[0]["lm_head.weight"], MODEL.state_dict()["lm_head.weight"])


def test_packed_examples_do_not_see_each_other(tmp_path):
    """Loss and gradients of examples packed into blocks are those of the same examples side by side."""
    rows = weighted_rows(0.3, 1.0)
    blocks = list(pack_dataset(Dataset.from_list(rows), 2 * max(len(row["input_ids"]) for row in rows), "bfd"))
    assert len(blocks) == 2 and all(len(block["seq_lengths"]) == 2 for block in blocks)
    gradients = []
    for batches, in_one_row in (([rows], False), ([blocks], True), ([[block] for block in blocks], True)):
        model, _ = made()
        loss = by_trainer(trainer_of(model, rows, tmp_path, in_one_row=in_one_row), batches)
        torch.testing.assert_close(loss, by_hand(MODEL, rows))
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-5, rtol=1e-4)


class Unmerged(TrainerCallback):
    """Keeps what the adapted model says at the end of its training, and its weights."""

    def on_train_end(self, args, state, control, model, **_):
        self.loss = by_hand(model.eval(), weighted_rows(0.3, 1.0)).detach()
        torch.testing.assert_close(by_trainer(self.trainer, [weighted_rows(0.3, 1.0)]).detach(), self.loss)
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}


def test_lora_moves_adapters_and_rows_and_saves_the_same_model_merged(tmp_path):
    model, _ = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids, rows, seen = id_tokens(TOKENIZER), weighted_rows(0.3, 1.0), Unmerged()
    trainer = trainer_of(add_lora(model, ids, rank=4, alpha=8), rows, tmp_path)
    seen.trainer = trainer
    trainer.add_callback(seen)
    train(trainer)
    frozen = {name: value for name, value in seen.state.items() if "base_layer" in name}
    assert frozen and all(torch.equal(value, before[plain(name)]) for name, value in frozen.items())
    assert all(value.any() for name, value in seen.state.items() if "lora_B" in name)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(by_hand(merged, rows).detach(), seen.loss)
    assert seen.loss < by_hand(MODEL, rows) - 0.1
    torch.testing.assert_close(by_trainer(trainer_of(merged, rows, tmp_path), [rows]).detach(), seen.loss)
    after = merged.state_dict()
    assert after.keys() == before.keys() and not list(Path(tmp_path).glob("adapter*"))
    moved = (after["lm_head.weight"] != before["lm_head.weight"]).any(1).nonzero().flatten().tolist()
    used = {token for row in rows for token in row["input_ids"]}
    assert used & set(ids) <= set(moved) <= set(ids)
    assert all(torch.equal(after[name], before[name]) == ("norm" in name) for name in after if "embed" not in name)


def plain(name: str) -> str:
    """A parameter's name in the model below its adapters."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".token_adapter", "")
