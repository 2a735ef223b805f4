import dataclasses
import json

import pytest

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.sid_tokens import sid_string, vocabulary
from gr2.language_model import id_record
from gr2.language_model.id_record import FILE, check_taught
from gr2.language_model.scratch import train_tokenizer


@pytest.fixture
def tokenizer():
    made = train_tokenizer(["words"], 300)
    made.add_tokens(vocabulary(3, 8))
    return made


def with_sids(catalogue: Catalogue, sid: dict[str, str]) -> Catalogue:
    return dataclasses.replace(catalogue, sid=sid)


def taught(folder, catalogue: Catalogue) -> str:
    (folder / FILE).write_text(json.dumps(id_record.describe_ids(catalogue)))
    return str(folder)


def test_new_items_and_items_that_are_gone_change_nothing_that_was_taught(world, tokenizer, tmp_path):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    model = taught(tmp_path, catalogue)
    later = {"film": sid_string([7, 7, 7])} | dict(list(catalogue.sid.items())[5:])
    assert check_taught(model, tokenizer, with_sids(catalogue, later), "ids")["items"] == 48


def test_other_ids_are_refused(world, tokenizer, tmp_path):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    model = taught(tmp_path, catalogue)
    names, sids = list(catalogue.sid), list(catalogue.sid.values())
    moved = with_sids(catalogue, dict(zip(names, sids[1:] + sids[:1], strict=True)))
    with pytest.raises(InputError, match=r"ids: the model .* was taught other IDs"):
        check_taught(model, tokenizer, moved, "ids")
    other = with_sids(catalogue, {f"book{name}": sid for name, sid in catalogue.sid.items()})
    with pytest.raises(InputError, match="none of the model's items is in it"):
        check_taught(model, tokenizer, other, "ids")


def test_a_large_catalogue_is_known_by_a_sample(world, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(id_record, "SAMPLE", 10)
    catalogue = read_catalogue(world.items, world.semantic_ids)
    model = taught(tmp_path, catalogue)
    assert len(json.loads((tmp_path / FILE).read_text())["sample"]) == 10
    assert check_taught(model, tokenizer, with_sids(catalogue, dict(list(catalogue.sid.items())[1:])), "ids")
    names, sids = list(catalogue.sid), list(catalogue.sid.values())
    with pytest.raises(InputError, match="other IDs"):
        check_taught(model, tokenizer, with_sids(catalogue, dict(zip(names, sids[::-1], strict=True))), "ids")


def test_a_code_without_a_token_is_refused(world, tmp_path):
    catalogue = read_catalogue(world.items, world.semantic_ids)
    fewer = train_tokenizer(["words"], 300)
    fewer.add_tokens(vocabulary(3, 7))
    with pytest.raises(InputError, match="does not know <s_a_7>, which ids uses; run gr2 midtrain"):
        check_taught(taught(tmp_path, catalogue), fewer, catalogue, "ids")
