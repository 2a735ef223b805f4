import copy
import dataclasses

import numpy as np
import pytest
import torch

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.files.sid_tokens import code_token, sid_string, vocabulary
from gr2.language_model.id_record import describe_ids
from gr2.language_model.new_codes import start_new_codes, weigh
from gr2.language_model.scratch import train_tokenizer
from gr2.language_model.vocabulary import expand
from gr2.semantic_ids.quantizer import Quantizer
from tests.helpers import untied_llama

CODES = 10  # of which the world's items have eight
BOOKS = np.random.default_rng(0).normal(size=(3, CODES, 4)).astype(np.float32)


@pytest.fixture
def source(tmp_path):
    Quantizer("rkmeans", BOOKS, 1).save(tmp_path / "quantizer.safetensors")
    return str(tmp_path / "semantic_ids.parquet")


@pytest.fixture
def tokenizer():
    return train_tokenizer(["words"], 300)


def with_item(catalogue: Catalogue, codes: tuple[int, ...]) -> Catalogue:
    known = {"codes": catalogue.codes | {"later": codes}, "sid": catalogue.sid | {"later": sid_string(codes)}}
    return dataclasses.replace(catalogue, **known)


def test_the_row_of_a_new_code_is_the_mean_of_its_neighbours_in_the_codebook(world, tokenizer, source):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    model = untied_llama(tokenizer)
    expand(model, tokenizer, vocabulary(3, CODES), 0)
    before, taught = copy.deepcopy(model), describe_ids(catalogue)
    after = start_new_codes(model, tokenizer, taught, with_item(catalogue, (3, 9, 8)), source)
    assert taught["codes"] == [list(range(8))] * 3
    assert after == taught | {"codes": [list(range(8)), [*range(8), 9], [*range(9)]]}
    changed = set()
    for layer, old in ((model.get_input_embeddings(), before.get_input_embeddings()),
                       (model.get_output_embeddings(), before.get_output_embeddings())):  # fmt: skip
        changed |= set((layer.weight != old.weight).any(1).nonzero().flatten().tolist())
        neighbours, weights = weigh(BOOKS[1], 9, np.arange(8))
        near = old.weight[tokenizer.convert_tokens_to_ids([code_token(1, code) for code in neighbours])]
        row = layer.weight[tokenizer.convert_tokens_to_ids(code_token(1, 9))]
        torch.testing.assert_close(row, torch.from_numpy(weights) @ near)
    assert changed == set(tokenizer.convert_tokens_to_ids([code_token(1, 9), code_token(2, 8)]))


def test_nothing_happens_without_a_new_code_or_without_a_record(world, tokenizer, source):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    model = untied_llama(tokenizer)
    expand(model, tokenizer, vocabulary(3, CODES), 0)
    before, taught = copy.deepcopy(model.state_dict()), describe_ids(catalogue)
    old = {name: value for name, value in taught.items() if name != "codes"}  # of a model before this was recorded
    assert start_new_codes(model, tokenizer, taught, with_item(catalogue, (1, 2, 3)), source) == taught
    assert start_new_codes(model, tokenizer, old, with_item(catalogue, (9, 9, 9)), source) == old
    assert start_new_codes(model, tokenizer, None, with_item(catalogue, (9, 9, 9)), source) is None
    assert start_new_codes(model, tokenizer, taught, with_item(catalogue, (9, 9, 9)), "nowhere/ids") == taught
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_neighbours_are_the_nearest_and_weigh_the_more_the_nearer_they_are():
    book = np.array([[0.0], [1.0], [3.0], [10.0], [-20.0], [0.5]])
    neighbours, weights = weigh(book, 5, np.arange(5))
    assert neighbours == [0, 1, 2, 3] and weights[0] == weights[1] > weights[2] > weights[3]
    assert weights.sum() == pytest.approx(1)
    neighbours, weights = weigh(np.array([[1.0], [1.0]]), 1, np.array([0]))  # the same code twice
    assert neighbours == [0] and weights.tolist() == [1]
