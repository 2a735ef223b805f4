import numpy as np
import polars as pl
import pytest
import torch

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.semantic_ids import write_semantic_ids
from gr2.files.sid_tokens import code_token
from gr2.files.slates import Slate
from gr2.rerankers.list_writer.batch import read_requests, to_request
from gr2.rerankers.list_writer.codes import CodeVectors, read_known, standardise
from gr2.rerankers.list_writer.decode import write_lists
from gr2.rerankers.list_writer.network import ListWriter
from gr2.rerankers.list_writer.train_glorank import clone
from gr2.rerankers.settings import Lists, Training
from gr2.stages import sids

COLD, WARM = 12, 24  # items that no train slate holds, and those that some do; half of each is of either kind


@pytest.fixture(scope="module")
def quantized(world, tmp_path_factory) -> str:
    """A folder of `gr2 sids`: two levels of 16 codes."""
    folder = tmp_path_factory.mktemp("sids")
    paths = {"items": world.items, "embeddings": world.embeddings, "output_dir": str(folder)}
    sids.run(sids.Config(**paths, levels=2, codes=16))
    return str(folder)


def test_a_folded_table_has_the_same_vectors_and_nothing_else():
    torch.manual_seed(0)
    vectors = CodeVectors(6, 4, known=3)
    vectors.start_from(torch.randn(6, 3))
    before = vectors(torch.arange(6))
    torch.testing.assert_close(before, vectors.projection(vectors.known))
    vectors.fold()
    torch.testing.assert_close(vectors(torch.arange(6)), before)
    assert vectors.state_dict().keys() == {"weight"}


def test_every_level_counts_the_same():
    scaled = standardise(torch.randn(2, 50, 3) * torch.tensor([10.0, 0.1])[:, None, None] + 5)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(2, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.square().mean((1, 2)), torch.ones(2))


def test_codebooks_are_those_of_the_ids(world, quantized):
    from gr2.semantic_ids.quantizer import load

    ids = f"{quantized}/semantic_ids.parquet"
    catalogue = read_catalogue(world.items, ids)
    known = read_known(catalogue, ids, quantized, None)
    books = torch.from_numpy(load(f"{quantized}/quantizer.safetensors").codebooks)[:, : catalogue.code_count]
    torch.testing.assert_close(known, standardise(books).flatten(0, 1))
    with pytest.raises(InputError, match=r"expected the folder of `gr2 sids` that .* comes from"):
        read_known(catalogue, world.semantic_ids, quantized, None)


def test_a_level_that_only_counts_items_has_no_codebook(world, quantized, tmp_path):
    ids = pl.read_parquet(f"{quantized}/semantic_ids.parquet")
    metadata = {"quantizer": pl.read_parquet_metadata(f"{quantized}/semantic_ids.parquet")["quantizer"]}
    codes = np.array([[*row, 0] for row in ids["codes"].to_list()])
    write_semantic_ids(tmp_path / "semantic_ids.parquet", ids["item_id"], codes, metadata)
    catalogue = read_catalogue(world.items, str(tmp_path / "semantic_ids.parquet"))
    known = read_known(catalogue, str(tmp_path / "semantic_ids.parquet"), quantized, None)
    assert known.unflatten(0, (3, -1))[2].abs().max() == 0


def test_a_mid_trained_models_rows_are_those_of_the_codes_tokens(world, beginner, quantized):
    from gr2.language_model.loading import load_model, load_tokenizer

    catalogue = read_catalogue(world.items, world.semantic_ids)
    known = read_known(catalogue, world.semantic_ids, None, str(beginner)).unflatten(0, (catalogue.levels, -1))
    table, tokenizer = load_model(str(beginner)).get_input_embeddings().weight, load_tokenizer(str(beginner))
    rows = [
        [
            table[tokenizer.convert_tokens_to_ids(code_token(level, code))].tolist()
            for code in range(catalogue.code_count)
        ]
        for level in range(catalogue.levels)
    ]
    torch.testing.assert_close(known, standardise(torch.tensor(rows)))
    other = read_catalogue(world.items, f"{quantized}/semantic_ids.parquet")
    with pytest.raises(InputError):
        read_known(other, f"{quantized}/semantic_ids.parquet", None, str(beginner))


def small_world(seed: int = 0) -> tuple[Lists, list[Slate], torch.Tensor]:
    """Items of two kinds, and users who take three of one kind. Each item has two codes of its own, so that only the
    codes' known vectors tell the kind of an item that was never seen. Lists, test slates of cold items, known vectors.
    """
    rng = np.random.default_rng(seed)
    names = [f"i{number:02d}" for number in range(WARM + COLD)]  # even numbers are of one kind
    codes = {name: (number, number) for number, name in enumerate(names)}
    texts = dict.fromkeys(names, "")
    catalogue = Catalogue(pl.Series("item_id", names), texts, texts, texts, texts, codes)

    def draw(pool: list[str], number: int) -> Slate:
        kind = number % 2
        own, other = ([name for name in pool if int(name[1:]) % 2 == which] for which in (kind, 1 - kind))
        past = rng.choice(names[kind:WARM:2], 4, replace=False).tolist()
        own = [name for name in own if name not in past]
        candidates = [*rng.choice(own, 3, replace=False).tolist(), *rng.choice(other, 3, replace=False).tolist()]
        return Slate(f"{pool[0]}-{number}", past, candidates, [1.0] * 3 + [0.0] * 3).shuffled(seed)

    train, valid = ([draw(names[:WARM], number) for number in range(count)] for count in (160, 40))
    test = [draw(names[WARM:], number) for number in range(100)]
    kinds = torch.tensor([[1.0, -1.0] if number % 2 else [-1.0, 1.0] for number in range(len(names))])
    known = torch.cat([kinds, kinds]) + 0.1 * torch.from_numpy(rng.normal(size=(2 * len(names), 2))).float()
    return Lists(train, valid, catalogue, 3, 4), test, known


@pytest.mark.parametrize(
    ("space", "switches"), [("pointer", {}), ("global", {"shared": True}), ("global", {"look_ahead": True})]
)
def test_a_code_that_was_never_seen_ranks_better_from_a_codebook_than_from_a_random_row(space, switches, tmp_path):
    lists, test, known = small_world()
    precision = {}
    for name, start in (("random", None), ("codebooks", known)):
        training = Training(str(tmp_path / name), 0, 16, 1, 0.0, 1e-2, 16, 5, 5)
        clone(lists, training, space, True, start, **switches)
        model = ListWriter.from_pretrained(tmp_path / name).eval()
        assert model.config.known == 0 and "code.known" not in model.state_dict()
        with torch.no_grad():
            encoded = model.encode(read_requests(test, lists.catalogue, 4))
            found = to_request(write_lists(model, encoded, 3), encoded.order)
        labels = torch.tensor([slate.labels for slate in test])
        precision[name] = labels.gather(1, found).mean().item()
    assert abs(precision["random"] - 0.5) < 0.15, "it knows nothing of these items"
    assert precision["codebooks"] > precision["random"] + 0.2
