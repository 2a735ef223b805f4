from pathlib import Path

from gr2.files.artifacts import read_json, read_lines
from gr2.language_model.loading import load_tokenizer
from gr2.runner.stage import input_paths
from gr2.samplers.base import Request, Sample, Sampler
from gr2.stages import traces as sample
from gr2.traces import teacher


class Noted(Sampler):
    """A fake engine: notes what it is asked and answers nothing of use."""

    def __init__(self, asked: list[Request]):
        self.asked = asked

    def stream(self, take, *, top_p, max_tokens):
        while requests := take(8):
            self.asked += requests
            yield [(request, Sample("nothing", "stop", 1, 1)) for request in requests]


def test_traces_say_by_which_prompt_domain_and_priming_they_were_made(world, tmp_path):
    config = sample.Config(items=world.items, semantic_ids=world.semantic_ids, slates=world.slates, mode="template",
                           prompt="rejection", domain="movies", priming=False,
                           output_dir=str(tmp_path))  # fmt: skip
    sample.run(config)
    said = {"name": "rejection", "version": 1, "domain": "movies", "priming": False}
    assert read_json(tmp_path / "summary.json")["prompt"] == said
    system = read_lines(tmp_path / "traces.jsonl", ("messages",))[0]["messages"][0]["content"]
    assert "expert in films" in system and "sequels" not in system
    read = {Path(path).name for path in input_paths(config, {})}
    assert {"rejection.yaml", "movies.yaml"} <= read, "the manifest has their sha256"


def test_a_teacher_is_shown_as_much_of_a_history_as_its_budget_has_room_for(world, tmp_path, monkeypatch):
    """The prompts that would be sampled, without a model: nothing is asked."""
    asked: list[Request] = []
    monkeypatch.setattr(teacher, "open_sampler", lambda *_, **__: Noted(asked))
    tokenizer = load_tokenizer("packaged:smollm2-135m-instruct")

    def tokens(messages: list[dict]) -> int:
        return len(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    def prompts(folder: str, budget: int | None) -> dict[str, list[dict]]:
        asked.clear()
        config = sample.Config(items=world.items, semantic_ids=world.semantic_ids, slates=world.slates, tries=1,
                               prompt="rejection", model_name_or_path="packaged:smollm2-135m-instruct",
                               max_prompt_tokens=budget, max_slates=20, output_dir=str(tmp_path / folder))  # fmt: skip
        sample.run(config)
        return {request.key: request.messages for request in asked}

    whole = prompts("whole", None)
    lengths = sorted(tokens(messages) for messages in whole.values())
    budget = lengths[10]
    fit = prompts("fit", budget)
    assert fit.keys() == whole.keys() and len(fit) == 20
    for slate_id, messages in fit.items():
        assert tokens(messages) <= budget
        assert (messages == whole[slate_id]) == (tokens(whole[slate_id]) <= budget)
        assert messages[0] == whole[slate_id][0]
