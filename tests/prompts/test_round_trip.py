import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from gr2.data.catalogue import read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import vocabulary
from gr2.language_model.loading import load_tokenizer
from gr2.prompts.answer import parse, write_answer
from gr2.prompts.round_trip import keep_answers

CHARACTERS = ["<unk>", "<s>", "</s>", "▁"] + [chr(number) for number in range(33, 127)]


def sentencepiece_style(kind: str) -> PreTrainedTokenizerFast:
    """Llama 2's normalizer, a Metaspace that always prepends, and one that is right already; words are characters."""
    backend = Tokenizer(
        models.BPE({text: at for at, text in enumerate(CHARACTERS)}, [], unk_token="<unk>", byte_fallback=False)
    )
    if kind == "llama2":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme=kind, split=False)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )
    made.add_tokens(
        [AddedToken(token, normalized=False, special=False) for token in vocabulary(3, 8)]
    )  # as `expand` does
    return made


@pytest.mark.parametrize("kind", ["llama2", "always", "first"])
def test_an_answer_survives_its_tokens(world, kind, tmp_path):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    candidates = catalogue.item_ids.to_list()[:5]
    answer = write_answer("A film.", candidates, catalogue)
    tokenizer = sentencepiece_style(kind)
    ids = tokenizer.encode(answer, add_special_tokens=False)
    assert (parse(tokenizer.decode(ids), candidates, catalogue.sid).ranking == candidates) == (kind == "first")
    kept = keep_answers(tokenizer, catalogue)
    kept.save_pretrained(tmp_path)
    for one in (kept, load_tokenizer(str(tmp_path))):
        ids = one.encode(answer, add_special_tokens=False)
        assert one.decode(ids) == answer
        assert one.get_vocab() == tokenizer.get_vocab() and one.eos_token == "</s>"


def test_a_tokenizer_that_loses_case_is_refused(world):
    tokenizer = sentencepiece_style("first")
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(InputError, match="does not keep an answer"):
        keep_answers(tokenizer, read_catalogue(world.items, world.semantic_ids))
