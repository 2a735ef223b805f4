"""The vectors of the codes of semantic IDs, and what is known of each code before any list is seen.

Known are vectors from elsewhere: a quantizer's codebooks, or a mid-trained language model's rows of the codes' tokens.
A code's vector is then the projection of what is known of it, plus a row of its own that starts at 0. Training moves
the projection, so a code that no list holds moves with the codes that are like it. A random row would stay where it
started.
"""

from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from gr2.data.catalogue import Catalogue
from gr2.errors import InputError
from gr2.files.artifacts import sha256
from gr2.files.semantic_ids import QUANTIZER
from gr2.files.sid_tokens import code_token
from gr2.semantic_ids.quantizer import load


class CodeVectors(nn.Embedding):
    """`count` vectors of `size` numbers; `known`: how many numbers are known of each code, 0 for none."""

    def __init__(self, count: int, size: int, known: int):
        super().__init__(count, size)
        self.known_width = known
        if known:
            self.register_buffer("known", torch.zeros(count, known))
            self.projection = nn.Linear(known, size, bias=False)

    def start_from(self, known: Tensor) -> None:
        """known: float [count, known]."""
        self.known.copy_(known)
        nn.init.zeros_(self.weight)

    @property
    def table(self) -> Tensor:
        """Float [count, size], all vectors."""
        return self.weight + self.projection(self.known) if self.known_width else self.weight

    def forward(self, index: Tensor) -> Tensor:
        return embedding(index, self.table)

    @torch.no_grad()
    def fold(self) -> None:
        """Puts the projection into the rows: the same vectors as a plain table, for a network that is trained."""
        if self.known_width:
            self.weight.copy_(self.table)
            del self.known, self.projection
            self.known_width = 0


def read_known(catalogue: Catalogue, semantic_ids: str, codebooks: str | None, midtrained: str | None) -> Tensor | None:
    """What a quantizer, a mid-trained model, or both side by side know of each code: float [levels * codes, width].

    codebooks: a folder of `gr2 sids`. On every level each source has mean 0 and variance 1. InputError where a source
    does not belong to the catalogue's semantic IDs, read from `semantic_ids`.
    """
    parts = [read_codebooks(codebooks, catalogue, semantic_ids)] if codebooks else []
    parts += [read_rows(midtrained, catalogue, semantic_ids)] if midtrained else []
    return torch.cat([standardise(part) for part in parts], 2).flatten(0, 1) if parts else None


def read_codebooks(folder: str, catalogue: Catalogue, semantic_ids: str) -> Tensor:
    """Float [levels, codes, latent]; zeros on a level that only counts items with the same codes."""
    path = Path(folder) / QUANTIZER
    books = torch.from_numpy(load(path).codebooks)
    if pl.read_parquet_metadata(semantic_ids).get("quantizer") != sha256(path):
        raise InputError(f"--codebooks {folder}: expected the folder of `gr2 sids` that {semantic_ids} comes from")
    table = torch.zeros(catalogue.levels, catalogue.code_count, books.shape[2])
    table[: len(books), : books.shape[1]] = books[:, : catalogue.code_count]
    return table


def read_rows(model_name_or_path: str, catalogue: Catalogue, semantic_ids: str) -> Tensor:
    """The model's input rows of the codes' tokens, float [levels, codes, hidden]; zeros for a code without a token."""
    from gr2.language_model.id_record import check_taught
    from gr2.language_model.loading import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_name_or_path)
    check_taught(model_name_or_path, tokenizer, catalogue, semantic_ids)
    rows = load_model(model_name_or_path).get_input_embeddings().weight.detach().float()
    vocabulary = tokenizer.get_vocab()
    table = torch.zeros(catalogue.levels, catalogue.code_count, rows.shape[1])
    for level in range(catalogue.levels):
        for code in range(catalogue.code_count):
            token = vocabulary.get(code_token(level, code))
            if token is not None:
                table[level, code] = rows[token]
    return table


def standardise(vectors: Tensor) -> Tensor:
    """Vectors [levels, codes, width] less their level's mean, in units of its standard deviation."""
    centred = vectors - vectors.mean(1, keepdim=True)
    return centred / centred.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-6)
