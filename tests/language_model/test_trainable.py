import pytest
import torch

from gr2.files.sid_tokens import vocabulary
from gr2.language_model.loading import load_model
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.trainable import add_lora, train_rows_only
from gr2.language_model.vocabulary import expand
from tests.forking import forked
from tests.helpers import TINY, refused, save_model, untied_llama


def made(tied):
    """(model, tokenizer, ids of the new tokens)."""
    tokenizer = train_tokenizer(["One user chose these items, oldest first:"], 300)
    if tied:
        model = small_model(tokenizer, hidden_size=32, layers=2, heads=2, context=256, seed=0)
    else:
        torch.manual_seed(0)
        model = untied_llama(tokenizer)
    return model, tokenizer, expand(model, tokenizer, vocabulary(2, 4), seed=0)


def trained(model, ids):
    batch = torch.tensor([[1, 5, *ids], [7, 9, *ids[::-1]]])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.0)
    for _ in range(3):
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_the_first_phase_changes_the_new_rows_and_nothing_else(tied):
    model, _, ids = made(tied)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_rows_only(model, ids)
    after = trained(model, ids).state_dict()
    tables = {"model.embed_tokens.weight", "lm_head.weight"}
    for name, value in after.items():
        changed = (value != before[name]).flatten(1).any(1) if value.ndim > 1 else value != before[name]
        assert changed.nonzero().flatten().tolist() == (sorted(ids) if name in tables else []), name


@pytest.mark.parametrize("tied", [True, False])
def test_lora_trains_every_layer_and_the_new_rows_and_merges_to_the_same_plain_model(tied, tmp_path):
    model, tokenizer, ids = made(tied)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = trained(add_lora(model, ids, rank=4, alpha=8), ids).eval()
    batch = torch.tensor([[1, 5, *ids]])
    expected = adapted(input_ids=batch).logits
    merged = adapted.merge_and_unload()
    save_model(merged, tokenizer, tmp_path)
    loaded = load_model(str(tmp_path)).eval()
    torch.testing.assert_close(loaded(input_ids=batch).logits, expected, atol=1e-5, rtol=1e-4)
    after = loaded.state_dict()
    assert after.keys() == before.keys()
    for name, value in after.items():
        rows = (value != before[name]).flatten(1).any(1).nonzero().flatten().tolist() if value.ndim > 1 else []
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert rows == sorted(ids), name
        elif "proj" in name:
            assert rows, name


@pytest.mark.slow
def test_two_phases_make_a_plain_checkpoint_that_knows_the_ids(world, midtrained, tmp_path):
    """From the mid-trained model as a base, as from any: rows first, then LoRA; resumed from its checkpoints."""
    words = ["--items", world.items, "--interactions", world.interactions, "--semantic_ids", world.semantic_ids,
             "--block_length", "128", "--passes", "3", "--learning_rate", "1e-3", *TINY]  # fmt: skip
    forked(
        "midtrain", "--model_name_or_path", midtrained, "--trainable", "rows", "--output_dir", tmp_path / "rows", *words
    )
    forked("midtrain", "--model_name_or_path", tmp_path / "rows", "--trainable", "lora", "--lora_rank", "4",
           "--output_dir", tmp_path / "lora", *words)  # fmt: skip
    base, rows, lora = (
        load_model(str(folder)).state_dict() for folder in (midtrained, tmp_path / "rows", tmp_path / "lora")
    )
    differ = {name for name in base if not torch.equal(base[name], rows[name])}
    assert differ == {"model.embed_tokens.weight", "lm_head.weight"}
    assert base.keys() == lora.keys() and not torch.equal(
        rows["model.layers.0.mlp.up_proj.weight"], lora["model.layers.0.mlp.up_proj.weight"]
    )
    assert not list((tmp_path / "lora").glob("adapter*"))


@pytest.mark.parametrize(("words", "complaint"), [
    (["--trainable", "rows"], "--trainable rows: expected --model_name_or_path"),
    (["--trainable", "rows", "--model_name_or_path", "x", "--weight_decay", "0.1"], "--weight_decay 0.1: expected 0"),
    (["--mixture", "sequential=1", "general=1"], "--mixture general=WEIGHT: expected --general_text"),
    (["--general_text", "x.txt"], "--general_text x.txt: expected general=WEIGHT in --mixture"),
])  # fmt: skip
def test_options_that_do_not_go_together_are_refused(world, tmp_path, words, complaint):
    assert complaint in refused(
        "midtrain",
        "--items",
        world.items,
        "--interactions",
        world.interactions,
        "--semantic_ids",
        world.semantic_ids,
        "--output_dir",
        tmp_path / "out",
        *words,
    )
    assert not (tmp_path / "out").exists()
