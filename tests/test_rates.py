import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gr2.files.artifacts import files_below
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.midtrain.packing import collate
from gr2.rates import LanguageModelTrainer, Meter, count_operations, describe
from gr2.training import train
from tests.helpers import untied_llama
from tests.test_training import KillAfter, Killed, trainer_of

LENGTHS = [5, 3, 4, 2]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b"], 270)


def metered(folder: Path, tokenizer, **options) -> LanguageModelTrainer:
    """Four texts of 2 to 5 tokens a step, 14 of 20 places."""
    given = {"data_collator": collate, "kind": LanguageModelTrainer, "train_sampling_strategy": "sequential"}
    trainer = trainer_of(folder, tokenizer, **given, **options)
    trainer.train_dataset = trainer.eval_dataset = [
        {name: ids[: LENGTHS[row % 4]].tolist() for name, ids in example.items()}
        for row, example in enumerate(trainer.train_dataset)
    ]
    return trainer


def counted(inputs: dict[str, list], shared: bool = False, tokenizer=None) -> list[int]:
    meter = Meter(small_model(tokenizer, 16, 1, 2, 64, seed=0))
    meter.shared = shared
    meter.count({name: torch.tensor(rows) for name, rows in inputs.items()})
    return meter.counts.tolist()


def test_tokens_places_and_pairs_of_a_batch(tokenizer):
    """Two texts of 3 and 2 tokens, padded and behind one another; then an answer of 2 and one of 1 to the same 2."""
    padded = {"input_ids": [[1, 2, 3], [4, 5, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}
    packed = {"input_ids": [[1, 2, 3, 4, 5]], "position_ids": [[0, 1, 2, 0, 1]]}
    answers = {
        "prompt_ids": [[0, 7, 8], [0, 7, 8]],
        "prompt_mask": [[0, 1, 1], [0, 1, 1]],
        "completion_mask": [[1, 1], [1, 0]],
    }
    assert counted(padded, tokenizer=tokenizer) == [5, 6, 9 + 4]
    assert counted(packed, tokenizer=tokenizer) == [5, 5, 9 + 4]
    assert counted(answers, tokenizer=tokenizer) == [4 + 3, 10, 16 + 9]
    assert counted(answers, shared=True, tokenizer=tokenizer) == [4 + 1, 7, 16 + 9 - 4]


@pytest.mark.parametrize("frozen", [False, True])
def test_operations_are_those_that_torch_counts(tokenizer, frozen):
    """Norms and the rotation of positions, which torch does not count, are less than a hundredth."""
    for model in (small_model(tokenizer, 64, 3, 2, 64, seed=0), untied_llama(tokenizer)):
        for name, weight in model.named_parameters():
            weight.requires_grad_(not frozen or "embed" in name)
        model.set_attn_implementation("eager")
        rows, length = 2, 24
        ids = torch.randint(3, 260, (rows, length), generator=torch.Generator().manual_seed(0))
        with FlopCounterMode(display=False) as counter:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        each_token, each_pair = count_operations(model)
        expected = each_token * rows * length + 2 * each_pair * rows * length**2  # torch counts what is masked, too
        assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_a_training_writes_what_it_did_and_how_fast(tmp_path, tokenizer, capsys):
    trainer = metered(tmp_path, tokenizer, eval_strategy="steps", eval_steps=1)
    train(trainer)
    rates = json.loads((tmp_path / "training_rates.json").read_text())
    assert (rates["steps"], rates["tokens"], rates["padded_tokens"]) == (4, 4 * 14, 4 * 20), "validation is not counted"
    assert rates["train_seconds"] == rates["seconds"] > 0 == rates["rollout_seconds"]
    assert rates["tokens_per_second_per_device"] == pytest.approx(56 / trainer.meter.seconds, rel=1e-3)
    used = trainer.meter.each_token * 56 + trainer.meter.each_pair * 4 * (25 + 9 + 16 + 4)
    assert rates["tflops_per_device"] == pytest.approx(used / trainer.meter.seconds / 1e12, rel=1e-3)
    assert rates["device"] == "cpu" and rates["utilisation"] is None
    assert "56 tokens, " in capsys.readouterr().out
    assert tmp_path / "training_rates.json" not in files_below(tmp_path), "the model is the same, however long it took"


def test_the_share_of_a_known_peak(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("gr2.rates.find_peak", {"cpu": 1e9}.get)
    trainer = metered(tmp_path, tokenizer)
    trainer.train()
    rates = trainer.meter.report(trainer.accelerator)
    assert rates["utilisation"] == pytest.approx(rates["tflops_per_device"] * 1e3, abs=1e-4)
    assert describe(rates).endswith(" % of the peak of cpu")


def test_rates_are_of_what_this_process_trained(tmp_path, tokenizer):
    """Killed after step 2 of 4, then after the last one: two steps are left, then none. The log is of all of them."""
    train(metered(tmp_path / "whole", tokenizer))
    for steps in (2, 4):
        folder = tmp_path / f"killed-{steps}"
        with pytest.raises(Killed):
            train(metered(folder, tokenizer, callbacks=[KillAfter(steps)]))
        assert not (folder / "training_rates.json").exists()
        train(metered(folder, tokenizer))
        rates = json.loads((folder / "training_rates.json").read_text())
        assert rates["steps"] == 4 - steps and rates["tokens"] == (4 - steps) * 14
        assert (rates["tokens_per_second_per_device"] is None) == (steps == 4)
        log = (folder / "training_log.jsonl").read_bytes()
        assert log == (tmp_path / "whole/training_log.jsonl").read_bytes() and b"second" not in log
