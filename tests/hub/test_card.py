"""The cards of a model that was trained, ranked and evaluated here."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings
from hypothesis import strategies as st

from gr2.cli import main
from gr2.errors import InputError
from gr2.files.artifacts import sha256
from gr2.hub.card import add_figures, write_card
from gr2.hub.card_command import main as card
from gr2.hub.facts import TITLES
from gr2.options.words import read_options
from gr2.runner.current import why_run
from gr2.runner.stage import run_stage

PROMPT = ["--prompt", "student_no_trace"]


def rerank_words(world, model, folder) -> list[str]:
    tables = ["--items", world.items, "--slates", world.slates, "--semantic_ids", world.semantic_ids]
    how = [*PROMPT, "--order", "first", "--max_tokens", "110"]
    return [*tables, *how, "--reranker", str(model), "--output_dir", str(folder)]


@pytest.fixture(scope="module")
def evaluated(world, beginner, tmp_path_factory) -> Path:
    """A folder with the model, its rankings and its report."""
    root = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(beginner, root / "model")
    run_stage("rerank", rerank_words(world, root / "model", root / "ranked"))
    popular = ["--items", world.items, "--slates", world.slates, "--interactions", world.interactions]
    run_stage("rerank", [*popular, "--reranker", "popularity", "--output_dir", str(root / "popular")])
    rankings = [f"mine={root}/ranked/rankings.parquet", f"popular={root}/popular/rankings.parquet"]
    words = ["--slates", world.slates, "--resamples", "100", "--output_dir", str(root / "report")]
    run_stage("evaluate", ["--rankings", *rankings, *words])
    return root


@pytest.fixture
def model(evaluated, tmp_path) -> Path:
    shutil.copytree(evaluated / "model", tmp_path / "model")
    return tmp_path / "model"


def metrics_of(evaluated) -> str:
    return str(evaluated / "report/metrics.json")


def manifest_of(model) -> dict:
    return json.loads((model / "manifest.json").read_text())


def test_a_trained_model_has_a_card(beginner):
    made = ModelCard.load(beginner / "README.md")
    assert (made.data.pipeline_tag, made.data.library_name) == ("text-ranking", "transformers")
    assert made.data.base_model is None and made.data.eval_results is None, "from scratch, and not evaluated"
    assert {"gr2", "gr2-midtrain"} <= set(made.data.tags)
    for section in ("How to load it", "How it was trained", "Evaluation", "Limits"):
        assert f"\n## {section}\n" in made.text
    assert "    hidden_size: 16\n" in made.text and "seed 42" in made.text, "what was given, and transformers' seed"
    assert "taught the semantic IDs of 48 items" in made.text
    manifest = manifest_of(beginner)
    assert manifest["outputs"]["README.md"] == sha256(beginner / "README.md")
    assert manifest["outputs"]["model.safetensors"][:16] not in made.text, "inputs are told, and no outputs"
    assert manifest["inputs"][str(Path(beginner).parent / "prepare/items.parquet")][:16] in made.text


def test_a_card_tells_nothing_of_the_machine(world, beginner):
    text = (beginner / "README.md").read_text()
    assert str(world.root) not in text and str(Path.home()) + "/" not in text and str(Path.cwd()) not in text


def test_a_card_is_the_same_in_every_folder(model, beginner):
    before = (model / "README.md").read_bytes()
    (model / "README.md").unlink()
    write_card(model, manifest_of(beginner))
    assert (model / "README.md").read_bytes() == before


@pytest.mark.parametrize("stage", TITLES)
def test_a_card_says_how_to_load_its_kind_of_model(model, stage):
    shape = {"model_type": "one_pass", "inputs": ["popularity"], "show": "both", "readout": "mean"}
    if stage == "fit one_pass":
        (model / "config.json").write_text(json.dumps(shape))
    write_card(model, manifest_of(model) | {"stage": stage, "command": "gr2 sft --recipe demo --stage sft"})
    text = (model / "README.md").read_text()
    command = "gr2 slates --pre_ranker beam" if stage == "midtrain" else "gr2 rerank --reranker model"
    assert command in text and "--semantic_ids semantic_ids.parquet" in text and "recipe demo, stage sft" in text
    assert ("AutoModelForCausalLM" in text) == (stage != "fit one_pass")
    assert ("--embeddings embeddings.safetensors" in text) == (stage == "fit one_pass")
    assert "None," not in text and "{" not in text and "\n\n\n" not in text


def test_the_figures_of_the_report_come_into_the_card(evaluated, model, capsys):
    card([str(model), "--metrics", metrics_of(evaluated), "--dataset", "me/films"])
    assert "with the figures of mine" in capsys.readouterr().out
    metrics, made = json.loads(Path(metrics_of(evaluated)).read_text()), ModelCard.load(model / "README.md")
    results = {result.metric_type: result for result in made.data.eval_results}
    assert {name: result.metric_value for name, result in results.items()}.items() <= metrics["systems"]["mine"].items()
    ndcg = results["ndcg@5"]
    assert (ndcg.task_type, ndcg.metric_name, ndcg.dataset_split) == ("text-ranking", "NDCG@5", "test")
    assert ndcg.dataset_type == "me/films" and made.data.datasets == ["me/films"]
    low, high = metrics["intervals"]["mine"]["ndcg@5"]
    assert f"| NDCG@5 | {metrics['systems']['mine']['ndcg@5']:.4f} [{low:.4f}, {high:.4f}] | " in made.text
    assert "None in this card yet" not in made.text
    assert manifest_of(model)["outputs"]["README.md"] == sha256(model / "README.md")
    assert manifest_of(model)["card"] == {"metrics": sha256(metrics_of(evaluated)), "system": "mine"}
    before = (model / "README.md").read_bytes()
    card([str(model), "--metrics", metrics_of(evaluated)])
    assert (model / "README.md").read_bytes() == before, "the same figures again"


def test_what_people_write_stays(evaluated, model):
    text = (model / "README.md").read_text()
    (model / "README.md").write_text(text.replace("---\n\n#", "license: mit\n---\n\n#") + "\n## Thanks\n\nTo Ann.\n")
    card([str(model), "--metrics", metrics_of(evaluated)])
    made = ModelCard.load(model / "README.md")
    assert made.data.license == "mit" and made.text.endswith("\n## Thanks\n\nTo Ann.\n")
    assert made.data.eval_results and "## Limits" in made.text


def test_a_folder_of_an_older_gr2_gets_a_card(model):
    before = (model / "README.md").read_bytes()
    (model / "README.md").unlink()
    card([str(model)])
    assert (model / "README.md").read_bytes() == before


def test_another_models_figures_are_refused(evaluated, model):
    manifest = manifest_of(model)
    manifest["outputs"]["model.safetensors"] = "0" * 64
    (model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="system with this model's weights, found none; name one with --system"):
        card([str(model), "--metrics", metrics_of(evaluated)])
    with pytest.raises(InputError, match="--system mine: its rankings were made by a model with other weights"):
        card([str(model), "--metrics", metrics_of(evaluated), "--system", "mine"])
    with pytest.raises(InputError, match="--system other: expected one of input_order, mine"):
        card([str(model), "--metrics", metrics_of(evaluated), "--system", "other"])


def test_a_report_whose_rankings_are_gone_does_not_know_whose_they_were(evaluated, model, tmp_path):
    shutil.copytree(evaluated / "report", tmp_path / "report")
    manifest = json.loads((tmp_path / "report/manifest.json").read_text())
    manifest["options"]["rankings"] = [f"mine={tmp_path}/gone/rankings.parquet"]
    (tmp_path / "report/manifest.json").write_text(json.dumps(manifest))
    card([str(model), "--metrics", str(tmp_path / "report/metrics.json"), "--system", "mine"])
    assert manifest_of(model)["card"]["system"] == "mine"


def test_figures_of_another_system_than_the_weights_say_are_refused(evaluated, model):
    with pytest.raises(InputError, match="--system popular: expected mine, whose rankings this model made"):
        card([str(model), "--metrics", metrics_of(evaluated), "--system", "popular"])


def test_what_is_no_model_no_card_or_no_report_is_refused(evaluated, model, tmp_path):
    for folder, complaint in ((tmp_path, "it has no manifest.json"), (evaluated / "report", "found evaluate")):
        with pytest.raises(InputError, match=complaint):
            card([str(folder)])
    (tmp_path / "metrics.json").write_text('{"systems": {}}')
    with pytest.raises(InputError, match=r"expected the metrics\.json of `gr2 evaluate`"):
        card([str(model), "--metrics", str(tmp_path / "metrics.json")])
    (model / "README.md").write_text("---\n[broken\n---\n")
    with pytest.raises(InputError, match=r"README\.md: expected a card with metadata in YAML"):
        card([str(model)])
    with pytest.raises(SystemExit) as stop:
        main(["card", str(tmp_path)])
    assert stop.value.code == 2


def test_a_card_that_changed_makes_no_stage_run_again(world, evaluated):
    model = evaluated / "model"
    manifest, text = manifest_of(model), (model / "README.md").read_text()
    trained = manifest["options"] | {"output_dir": [str(model)]}  # it was trained in another folder
    (model / "manifest.json").write_text(json.dumps(manifest | {"options": trained}))
    ranked = read_options(rerank_words(world, model, evaluated / "ranked"))
    assert why_run("midtrain", trained) == why_run("rerank", ranked) == ""
    (model / "README.md").write_text(text + "\nA word more.\n")
    assert why_run("midtrain", trained) == why_run("rerank", ranked) == ""
    (model / "README.md").unlink()
    assert why_run("midtrain", trained) == "output missing: README.md"
    (model / "README.md").write_text(text)


PARTS = st.text("ab #|\n-", max_size=20).filter(lambda text: not text.startswith("## ") and "\n## " not in text)


@settings(max_examples=30)
@given(PARTS, PARTS, st.booleans())
def test_only_the_section_evaluation_changes(before, after, there):
    metrics = {"split": "test", "slates": 2, "users": 1, "systems": {}, "intervals": {}}
    for name, value in (("mine", 0.5), ("input_order", 0.25)):
        metrics["systems"][name], metrics["intervals"][name] = {"ndcg@5": value}, {"ndcg@5": [0.0, 1.0]}
    section = "## Evaluation\n\nNone.\n\n" if there else ""
    made = ModelCard(f"---\ntags:\n- a\n---\n# Title\n{before}\n{section}## Limits\n{after}\n")
    for _ in range(2):
        add_figures(made, metrics, "mine")
        assert made.text.startswith(f"# Title\n{before}\n") and f"## Limits\n{after}".rstrip() in made.text
        assert made.text.count("## Evaluation\n") == 1 and "| NDCG@5 | 0.5000 [0.0000, 1.0000] | 0.2500" in made.text
        assert "None." not in made.text
    assert isinstance(made.data, ModelCardData) and len(made.data.eval_results) == 1
