import json
import shutil
from pathlib import Path

import torch
from datasets import Dataset
from trl import GRPOConfig

from gr2.language_model.loading import load_model, load_tokenizer
from gr2.rl.decoding import cut_at_end
from gr2.rl.trainer import RerankingTrainer


def sample_answers(model: Path, folder: Path, rows: int | None = None) -> list[list[int]]:
    """What a trainer samples without a grammar from this model, its vocabulary padded to `rows` rows."""
    tokenizer, policy = load_tokenizer(str(model)), load_model(str(model))
    if rows:
        policy.resize_token_embeddings(rows)
        with torch.no_grad():
            policy.get_output_embeddings().weight[len(tokenizer) :] *= 100
    options = {"per_device_train_batch_size": 8, "max_completion_length": 48, "bf16": False, "report_to": "none"}
    args = GRPOConfig(str(folder / "unused"), **options)
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": "a"}], "slate_id": "a"}])
    rewards = [lambda completions, **_: [0.0] * len(completions)]
    trainer = RerankingTrainer(policy, rewards, args, data, processing_class=tokenizer, max_resamples=0)
    torch.manual_seed(0)
    answers, _ = trainer.sample([data[0]] * 8)
    return [answer.completion_ids for answer in answers]


def test_free_rollouts_follow_the_recipe_alone(beginner, tmp_path):
    """With and without what a hub model's generation_config.json may ask for."""
    odd = tmp_path / "odd"
    shutil.copytree(beginner, odd, ignore=lambda *_: ["manifest.json"])
    settings = json.loads((odd / "generation_config.json").read_text()) | {
        "min_new_tokens": 60,
        "no_repeat_ngram_size": 1,
    }
    (odd / "generation_config.json").write_text(json.dumps(settings))
    assert sample_answers(beginner, tmp_path) == sample_answers(odd, tmp_path)


def test_rows_that_pad_the_vocabulary_are_not_sampled(beginner, tmp_path):
    size = len(load_tokenizer(str(beginner)))
    answers = sample_answers(beginner, tmp_path, rows=size + 500)
    assert len(answers) == 8 and all(token < size for answer in answers for token in answer)


def test_an_answer_ends_at_its_first_end_token():
    assert cut_at_end([5, 2, 0, 2], ends=[2, 3]) == [5, 2] and cut_at_end([5, 6], ends=[2]) == [5, 6]
