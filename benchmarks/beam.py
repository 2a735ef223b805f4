"""Legal-ID beam search against transformers' own: generate() with num_beams and a Python prefix_allowed_tokens_fn.

python benchmarks/beam.py                                    # a random model of 1M parameters, 12,101 random IDs
python benchmarks/beam.py --model runs/beauty/midtrain --semantic_ids runs/beauty/sids/semantic_ids.parquet

The same model, prompts (histories of 3 to 20 items), batch size and beams on the same machine in the same run; rounds
alternate and the median counts. Both return items with the sum of their codes' log-probabilities, so the lists are
compared too. Exit code 1 where the ratio at 10 beams is below 5, or where an ID of --searches searches is no catalogue
item or is there twice. docs/results/retrieval.md has what it printed.
"""

import argparse
import statistics
import sys
import time

import numpy as np
import torch
from tqdm import tqdm
from transformers import GenerationConfig

from gr2.choices.legal_search import search
from gr2.files.semantic_ids import read_semantic_ids
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model.loading import load_model, load_tokenizer
from gr2.language_model.scratch import small_model, train_tokenizer
from gr2.language_model.sequences import HISTORY, code_token_ids, next_item_prompt
from gr2.language_model.vocabulary import expand
from gr2.semantic_ids.trie import build_trie

LEVELS, CODES, ITEMS, BATCH, ROUNDS = 4, 256, 12_101, 32, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a mid-trained model's folder")
    parser.add_argument("--semantic_ids", help="its semantic_ids.parquet")
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--searches", type=int, default=10_000, help="searches whose every ID is checked")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    if options.model:
        codes = np.array(read_semantic_ids(options.semantic_ids)["codes"].to_list())
        model, tokenizer = load_model(options.model), load_tokenizer(options.model)
    else:
        codes = np.unique(rng.integers(CODES, size=(ITEMS, LEVELS)), axis=0)
        tokenizer = train_tokenizer([HISTORY], 300)
        model = small_model(tokenizer, hidden_size=128, layers=4, heads=4, context=512, seed=0)
        expand(model, tokenizer, vocabulary(LEVELS, CODES), seed=0)
    model.eval()
    print(
        f"{model.num_parameters():,} parameters, {len(codes):,} items, batches of {BATCH}, "
        f"{torch.get_num_threads()} threads"
    )
    ours, theirs = Ours(model, tokenizer, codes), Generate(model, tokenizer, codes)
    ratios = {beams: compare(ours, theirs, codes, beams, rng) for beams in options.beams}
    wrong = check(ours, codes, options.searches, options.beams[0], rng)
    sys.exit(ratios[options.beams[0]] < 5 or wrong > 0)


def prompts(codes: np.ndarray, count: int, rng: np.random.Generator) -> list[str]:
    sids = [sid_string(row) for row in codes.tolist()]
    return [
        next_item_prompt([sids[item] for item in rng.integers(len(sids), size=rng.integers(3, 21))])
        for _ in range(count)
    ]


class Ours:
    def __init__(self, model, tokenizer, codes: np.ndarray):
        self.model, self.tokenizer = model, tokenizer
        self.code_ids = torch.tensor(code_token_ids(tokenizer, codes.shape[1]))
        self.trie = build_trie(codes, self.code_ids.shape[1])

    def __call__(self, texts: list[str], beams: int) -> tuple[np.ndarray, np.ndarray]:
        """Catalogue rows and scores, [n, beams]."""
        self.tokenizer.padding_side = "right"
        batch = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        anchors = batch["attention_mask"].sum(1, keepdim=True) - 1
        items, scores = search(self.model, batch["input_ids"], anchors, self.trie, self.code_ids, beams)
        return items[:, 0].numpy(), scores[:, 0].numpy()


class Generate:
    """What most public code does: a dict of prefixes, asked by generate() for every beam at every step."""

    def __init__(self, model, tokenizer, codes: np.ndarray):
        self.model, self.tokenizer, self.levels = model, tokenizer, codes.shape[1]
        ids = np.array(code_token_ids(tokenizer, self.levels))[np.arange(self.levels), codes]
        self.row = {tuple(tokens): row for row, tokens in enumerate(ids.tolist())}
        following: dict[tuple[int, ...], set[int]] = {}
        for tokens in self.row:
            for level, token in enumerate(tokens):
                following.setdefault(tokens[:level], set()).add(token)
        self.following = {prefix: sorted(tokens) for prefix, tokens in following.items()}

    def __call__(self, texts: list[str], beams: int) -> tuple[np.ndarray, np.ndarray]:
        self.tokenizer.padding_side = "left"
        batch = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        length = batch["input_ids"].shape[1]
        config = GenerationConfig(
            num_beams=beams,
            num_return_sequences=beams,
            do_sample=False,
            max_new_tokens=self.levels,
            min_new_tokens=self.levels,
            length_penalty=0.0,
            output_scores=True,
            return_dict_in_generate=True,
            eos_token_id=None,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        words = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            found = self.model.generate(
                **words,
                generation_config=config,
                prefix_allowed_tokens_fn=lambda _, ids: self.following[tuple(ids[length:].tolist())],
            )
        rows = [self.row[tuple(tokens)] for tokens in found.sequences[:, length:].tolist()]
        return np.array(rows).reshape(-1, beams), found.sequences_scores.view(-1, beams).numpy()


def compare(ours: Ours, theirs: Generate, codes: np.ndarray, beams: int, rng: np.random.Generator) -> float:
    """Prints searches a second of both and how alike their lists are; returns the ratio."""
    texts = prompts(codes, BATCH, rng)
    (items, scores), (expected, expected_scores) = ours(texts, beams), theirs(texts, beams)  # also warms up
    seconds: dict[str, list[float]] = {"ours": [], "generate": []}
    for _ in tqdm(range(ROUNDS), f"{beams} beams"):
        for name, run in (("ours", ours), ("generate", theirs)):
            start = time.perf_counter()
            run(texts, beams)
            seconds[name].append(time.perf_counter() - start)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    same = np.mean([len(set(a) & set(b)) / beams for a, b in zip(items.tolist(), expected.tolist(), strict=True)])
    difference = np.abs(scores[:, 0] - expected_scores[:, 0]).max()
    print(
        f"{beams} beams: {BATCH / middle['ours']:.1f} searches/s, generate {BATCH / middle['generate']:.1f}, ratio "
        f"{middle['generate'] / middle['ours']:.1f}; {same:.2%} of the items are the same, best scores differ by at "
        f"most {difference:.1e}"
    )
    return middle["generate"] / middle["ours"]


def check(ours: Ours, codes: np.ndarray, searches: int, beams: int, rng: np.random.Generator) -> int:
    """How many returned IDs are not those of a catalogue item, or are in their list twice."""
    wrong = 0
    for first in tqdm(range(0, searches, 64), "every ID is an item"):
        items, scores = ours(prompts(codes, min(64, searches - first), rng), beams)
        wrong += int(((items < 0) | (items >= len(codes)) | ~np.isfinite(scores)).sum())
        wrong += sum(beams - len(set(row)) for row in items.tolist())
    print(f"{searches:,} searches of {beams} items: {wrong} IDs that are no catalogue item or are listed twice")
    return wrong


if __name__ == "__main__":
    main()
