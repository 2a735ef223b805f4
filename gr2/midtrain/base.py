"""The model that mid-training starts from: it gets the IDs' tokens, and must be able to hold an answer."""

import dataclasses
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.semantic_ids import codes_of_level
from gr2.files.sid_tokens import SID, vocabulary
from gr2.files.slates import Slate
from gr2.language_model.vocabulary import expand
from gr2.midtrain.tasks import captions
from gr2.prompts.checks import check_answer
from gr2.prompts.prompt import Prompt

COUNTED = 100  # times that the BPE counts a file's text


def bpe_texts(catalogue: Catalogue, files: list[str]) -> list[str]:
    """What a BPE is trained on: captions without their IDs, and the words of prompts and answers in `files`."""
    no_sids = dataclasses.replace(catalogue, sid=dict.fromkeys(catalogue.sid, ""))
    texts = ["".join(text for text, _ in document) for document in captions(list(catalogue.title), no_sids)]
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"--bpe_files {file}: no such file")
        texts += COUNTED * [SID.sub("", Path(file).read_text(encoding="utf-8"))]
    return texts


def teach_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue, semantic_ids: str, seed: int
) -> list[int]:
    """Adds a token for every code of the quantizer to model and tokenizer, in place; returns those tokens' ids.

    A later item may get a code that no item has yet: `semantic_ids`, the file, knows how many there are.
    """
    used = 1 + max(max(item) for item in catalogue.codes.values())
    codes = max(used, codes_of_level(semantic_ids) or 0)
    return expand(model, tokenizer, vocabulary(catalogue.levels, codes), seed)


def check_base(name: str, tokenizer: PreTrainedTokenizerBase, prompt: Prompt, catalogue: Catalogue) -> None:
    """InputError if a slate's answer could later be neither written nor read; a base model without chats has none."""
    if tokenizer.chat_template is None:
        print(
            "the tokenizer has no chat template: the model can search for items, but not be asked to rerank", flush=True
        )
        return
    names = catalogue.item_ids.to_list()
    check_answer(name, tokenizer, prompt, Slate("example", names[:1], names[-10:]), catalogue)
