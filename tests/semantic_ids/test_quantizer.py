import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gr2.errors import InputError
from gr2.semantic_ids import quantizer as module
from gr2.semantic_ids.quantizer import Autoencoder, Quantizer, load


def make_quantizer(network: bool) -> Quantizer:
    torch.manual_seed(0)
    codebooks = np.random.default_rng(0).normal(size=(3, 8, 5 if network else 6)).astype(np.float32)
    if not network:
        return Quantizer("additive", codebooks, beam=4)
    autoencoder = Autoencoder(6, [7, 9], 5)
    for parameter in autoencoder.parameters():
        torch.nn.init.normal_(parameter)  # the perceptrons start at 0: give them a part
    return Quantizer("rqvae", codebooks, beam=2, network=autoencoder)


@pytest.mark.parametrize("network", [False, True])
def test_saved_and_loaded_it_gives_the_same_codes_vectors_and_bytes(tmp_path, network):
    first, vectors = make_quantizer(network), np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    first.save(tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert (again.kind, again.beam, again.width) == (first.kind, first.beam, 6)
    codes = first.encode(vectors)
    assert codes.shape == (40, 3) and codes.dtype == np.int64
    assert (again.encode(vectors) == codes).all()
    assert (again.decode(codes) == first.decode(codes)).all() and first.decode(codes).shape == (40, 6)
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_codes_do_not_depend_on_chunks(monkeypatch):
    quantizer, vectors = make_quantizer(True), np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    whole = quantizer.encode(vectors)
    monkeypatch.setattr(module, "CHUNK", 16)
    assert (quantizer.encode(vectors) == whole).all()
    assert quantizer.encode(vectors[:0]).shape == (0, 3)


@pytest.mark.parametrize("content", [None, b"", b"no safetensors", "no notes"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "quantizer.safetensors"
    if content == "no notes":
        save_file({"codebooks": np.ones((1, 2, 3), np.float32)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"quantizer\.safetensors: expected a quantizer that `gr2 sids` wrote"):
        load(path)
