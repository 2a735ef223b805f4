"""What mid-training learns from: documents of the four tasks, or reranking exercises."""

import random
from collections.abc import Iterable, Iterator

import polars as pl
from transformers import PreTrainedTokenizerBase

from gr2.data.catalogue import Catalogue
from gr2.files.columns import require_columns
from gr2.files.interactions import read_interactions
from gr2.language_model.chat import IGNORED, encode_turn, turn_end_id
from gr2.midtrain import tasks
from gr2.midtrain.mixture import mix, shuffle
from gr2.midtrain.packing import Document, Encoder


def read_histories(interactions: str, item_ids: pl.Series) -> list[list[str]]:
    """Each user's pretrain items, oldest first: none that any slate asks for."""
    frame = read_interactions(interactions, item_ids)
    require_columns(frame, interactions, ("split", "position"))
    frame = frame.filter(pl.col("split") == "pretrain").sort("user_id", "position")
    return frame.group_by("user_id", maintain_order=True).agg("item_id")["item_id"].to_list()


def mix_tasks(
    histories: list[list[str]],
    catalogue: Catalogue,
    tokenizer: PreTrainedTokenizerBase,
    weights: dict[str, float],
    general_text: str | None,
    window: int,
    passes: int,
    rng: random.Random,
) -> Iterator[Document]:
    """The tasks, mixed by weight, for `passes` passes over the histories, each cut and shuffled differently."""
    encode, item_ids = Encoder(tokenizer), list(catalogue.sid)
    documents = {
        "sequential": lambda: shuffle(tasks.sequential(histories, catalogue, window, rng), rng),
        "persona": lambda: shuffle(tasks.persona(histories, catalogue, window, rng), rng),
        "captions": lambda: shuffle(tasks.captions(item_ids, catalogue), rng),
        "general": lambda: tasks.general(general_text, rng),
    }
    encoded = {name: (lambda make=make: map(encode, make())) for name, make in documents.items()}
    return mix(encoded, weights, passes)


def encode_exercises(
    exercises: Iterable[tuple[list[dict[str, str]], str]], tokenizer: PreTrainedTokenizerBase
) -> list[dict[str, list[int]]]:
    """Each exercise an example of its own: in a block, attention would look for its answer in the one before it.

    The answer and the token that ends it are learned.
    """
    end, examples = turn_end_id(tokenizer), []
    for messages, answer in exercises:
        prompt_ids, answer_ids, _ = encode_turn(tokenizer, messages, answer)
        answer_ids = answer_ids[: answer_ids.index(end) + 1]
        examples.append({"input_ids": prompt_ids + answer_ids, "labels": [IGNORED] * len(prompt_ids) + answer_ids})
    return examples
