import json
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from gr2.errors import InputError
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.rl.trainer import Batch, RerankingTrainer, refuse_unlearned
from gr2.training import train
from tests.rl import dull_slates
from tests.rl.dull_slates import GROUP, ROWS, dull_trainer
from tests.scenarios.launching import start_both, wait_for


def check(seen: list[dict], lively: int) -> None:
    """Batches as they became, all rows of all processes: whole groups, each answer with its prompt and its reward."""
    for batch in seen:
        assert len(batch["slates"]) == len(batch["rewards"]) == len(batch["first"])
        groups = [batch["slates"][start : start + GROUP] for start in range(0, len(batch["slates"]), GROUP)]
        assert all(len(set(group)) == 1 for group in groups), "a group was split"
        assert len({group[0] for group in groups}) == len(groups), "a slate is in the batch twice"
        for slate, prompt, earned, reward in zip(
            batch["slates"], batch["prompts"], batch["earned"], batch["rewards"], strict=True
        ):
            assert slate in prompt
            assert reward == (earned if int(slate[1:]) < lively else 0)
        for start, group in zip(range(0, len(batch["slates"]), GROUP), groups, strict=True):
            assert sum(batch["advantages"][start : start + GROUP]) == pytest.approx(0, abs=1e-3)
            was = batch["first"][start]
            assert group[0] == was or int(was[1:]) >= lively, "a group with spread was replaced"


def test_in_one_process_every_group_gets_spread(tmp_path):
    trainer = dull_trainer(tmp_path, lively=12, per_device_train_batch_size=16)
    trainer.train()
    check(trainer.seen, lively=12)
    log = [entry for entry in trainer.state.log_history if "resamples" in entry]
    assert len(trainer.seen) == len(log) == 3
    for batch, entry in zip(trainer.seen, log, strict=True):
        first, became = ([int(slate[1:]) >= 12 for slate in batch[name][::GROUP]] for name in ("first", "slates"))
        assert entry["zero_spread"] == sum(first) / len(first)
        assert (entry["resamples"] > 0) == any(first)
        assert not any(became)
    assert any(entry["resamples"] > 0 for entry in log)


def test_rollouts_are_timed_apart_from_training(tmp_path):
    trainer = dull_trainer(tmp_path, lively=24, per_device_train_batch_size=8)
    train(trainer)
    rates = json.loads((tmp_path / "training_rates.json").read_text())
    assert rates["seconds"] > rates["rollout_seconds"] > 0 < rates["train_seconds"]
    tokenizer, rows = trainer.processing_class, trainer.train_dataset["prompt"]
    chats = tokenizer.apply_chat_template(list(rows), add_generation_prompt=True, return_dict=True)["input_ids"]
    lengths = dict(zip(trainer.train_dataset["slate_id"], map(len, chats), strict=True))
    prompts = sum(lengths[slate] for batch in trainer.seen for slate in batch["slates"])
    assert rates["steps"] == 3 and rates["tokens"] == prompts + sum(sum(batch["lengths"]) for batch in trainer.seen)


def test_the_same_seed_draws_the_same_slates_and_a_later_step_others(tmp_path):
    first, second = (dull_trainer(tmp_path / name, lively=12, per_device_train_batch_size=8) for name in "ab")

    def drawn(trainer) -> list[str]:
        return [row["slate_id"] for row in trainer.draw_others()]

    assert drawn(first) == drawn(second) and sorted(drawn(first)) == [f"s{number:02d}" for number in range(24)]
    first.state.global_step = 1
    assert drawn(first) != drawn(second)
    first.batch = Batch([{"slate_id": "s03"}])
    assert "s03" not in drawn(first)


@pytest.mark.parametrize(("slates", "retries"), [(24, 2), (6, 1)])  # of six slates, four are in the batch
def test_bounded_retries_end_with_one_warning_and_a_full_batch(tmp_path, capsys, slates, retries):
    trainer = dull_trainer(tmp_path, lively=1, slates=slates, per_device_train_batch_size=16, max_resamples=2)
    trainer.train()
    assert capsys.readouterr().err.count("no spread after") == 1
    check(trainer.seen, lively=1)
    log = [entry for entry in trainer.state.log_history if "resamples" in entry]
    assert len(log) == 3 and all(entry["zero_spread"] >= 0.75 for entry in log)
    if slates == 24:
        assert all(entry["resamples"] == retries for entry in log)
    else:
        assert all(entry["resamples"] == 0 for entry in log)  # too few others to fill three places


def test_with_no_retries_the_batch_stays_as_sampled(tmp_path, capsys):
    trainer = dull_trainer(tmp_path, lively=12, max_resamples=0, per_device_train_batch_size=8)
    trainer.train()
    assert "no spread after" not in capsys.readouterr().err
    assert all(batch["slates"] == batch["first"] for batch in trainer.seen)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_group_without_spread_is_not_learned_from(tmp_path, scale):
    """The penalty for length has spread in every group; it counts in those alone whose rankings have it too."""
    trainer = dull_trainer(tmp_path, lively=12, max_resamples=0, per_device_train_batch_size=16, scale_rewards=scale)
    trainer.train()
    flat = [entry["flat"] for entry in trainer.state.log_history if "flat" in entry]
    for batch, share in zip(trainer.seen, flat, strict=True):
        lively = [int(slate[1:]) < 12 for slate in batch["slates"]]
        assert share == 1 - sum(lively) / len(lively)
        assert all((advantage != 0) == here for advantage, here in zip(batch["advantages"], lively, strict=True))
        assert batch["tokens"] == sum(batch["lengths"]), "DAPO's mean is over the tokens of all groups"
    assert 0 < sum(flat) < len(flat)


def test_what_rounding_leaves_of_equal_rewards_is_no_advantage(tmp_path):
    """The mean of eight numbers .3 is not .3 in float32, and Adam would make a full step of the difference."""
    options = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "num_generations": 8}
    trainer = dull_trainer(tmp_path, lively=0, max_resamples=0, dull=0.3, penalised=False, **options)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert all(advantage == 0 for batch in trainer.seen for advantage in batch["advantages"])
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def test_a_training_that_learned_nothing_is_refused_and_so_is_its_resumption(tmp_path):
    """The checkpoints stay, and none of them has a log: 3 steps, logged every 10."""
    options = {"lively": 0, "max_resamples": 0, "per_device_train_batch_size": 8}
    options |= {"save_strategy": "steps", "save_steps": 2, "logging_steps": 10}
    for _ in range(2):
        with pytest.raises(InputError, match="none of 3 steps"):
            train(dull_trainer(tmp_path, **options), refuse_unlearned)
        assert (tmp_path / "checkpoint-2").exists() and not (tmp_path / "model.safetensors").exists()
    train(dull_trainer(tmp_path / "lively", **options | {"lively": 24}), refuse_unlearned)
    assert (tmp_path / "lively/model.safetensors").exists()


def test_figures_of_answers_are_of_the_batch_as_first_sampled(tmp_path):
    """Those of the few groups that are sampled again would weigh as much as those of the whole batch."""
    trainer = dull_trainer(tmp_path, lively=12, per_device_train_batch_size=16)
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "resamples" in entry]
    assert any(entry["resamples"] for entry in log)
    for batch, entry in zip(trainer.seen, log, strict=True):
        assert entry["lively_share"] == sum(int(slate[1:]) < 12 for slate in batch["first"]) / len(batch["first"])


@pytest.mark.slow
def test_two_processes_take_the_same_decision(tmp_path):
    """Twelve rows, three groups, the second of which lies on both processes; half of the slates are dull."""
    wait_for(start_both(dull_slates.train_in_one_of_several, (tmp_path,), tmp_path, {}), tmp_path)
    one, two = (json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1))
    assert one["processes"] == two["processes"] == 2
    assert [entry["resamples"] for entry in one["log"]] == [entry["resamples"] for entry in two["log"]]
    assert any(entry["resamples"] > 0 for entry in one["log"])
    together = []
    for first, second in zip(one["seen"], two["seen"], strict=True):
        assert first["rewards"] == second["rewards"]
        assert len(first["slates"]) == len(second["slates"]) == ROWS
        together.append({name: first[name] if name == "rewards" else first[name] + second[name] for name in first})
    check(together, lively=12)
    assert all(int(slate[1:]) < 12 for batch in together for slate in batch["slates"])


def scores(model, ids: torch.Tensor, places: list, masks: torch.Tensor, temperature: float = 1.0, **options) -> tuple:
    """What a structured trainer says of the last two tokens, of which those at `places` were drawn among `masks`."""
    accelerator = Accelerator(cpu=True)
    policy = SimpleNamespace(accelerator=accelerator, temperature=temperature, structured=True)
    policy.batch = Batch([], decisions=(torch.tensor(places), masks))
    return RerankingTrainer._get_per_token_logps_and_entropies(policy, model, ids, ids > 0, 2, **options)


def test_log_probabilities_are_among_the_admitted_tokens():
    """In the first row token 8 was drawn among 8 and 9, in the second 7 among 7 and 6, and 9 among 8 and 9."""
    model = small_model(train_tokenizer(["a b"], 300), 32, 1, 2, 64, seed=0)
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]])
    masks = torch.full((2, 2, 10), -1, dtype=torch.int32)
    masks[0, 0] = masks[1, 1] = masks[1, 0] = 0
    masks[0, 0, 0] = masks[1, 1, 0] = 1 << 8 | 1 << 9
    masks[1, 0, 0] = 1 << 6 | 1 << 7
    logps, entropies, _ = scores(model, ids, [[1, -1], [0, 1]], masks, temperature=2.0)
    logits = model(ids).logits.detach() / 2
    late, early = logits[:, 2, [8, 9]].log_softmax(-1), logits[:, 1, [6, 7]].log_softmax(-1)
    expected = torch.tensor([[0.0, late[0, 0]], [early[1, 1], late[1, 1]]])
    assert torch.allclose(logps, expected, atol=1e-5)
    late, early = -(late.exp() * late).sum(-1), -(early.exp() * early).sum(-1)
    assert torch.allclose(entropies, torch.tensor([[0.0, late[0]], [early[1], late[1]]]), atol=1e-5)


def test_a_mixture_of_experts_has_its_balancing_loss():
    shape = {"vocab_size": 64, "hidden_size": 16, "moe_intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_experts": 4, "num_experts_per_tok": 2}
    masks = torch.full((1, 2, 2), -1, dtype=torch.int32)
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**shape, **heads))
    *_, balance = scores(model, torch.tensor([[5, 6, 7, 8]]), [[0, 1]], masks, compute_aux_loss=True)
    assert balance > 0
