"""GloRank, DeGRe and GoalRank as rerankers: the list that the network writes, then the other candidates."""

from pathlib import Path
from typing import Self

from gr2.data.catalogue import Catalogue
from gr2.files.rankings import Ranking
from gr2.files.slates import Slate
from gr2.rerankers.protocol import Inputs, Sampling
from gr2.rerankers.record import check_ids


class ListWriterReranker:
    def __init__(self, folder: str | Path, catalogue: Catalogue, batch_size: int = 128):
        """InputError where the network was fitted on other items or semantic IDs."""
        check_ids(folder, catalogue)
        from gr2.rerankers.list_writer.network import ListWriter

        self.folder, self.catalogue, self.batch_size = folder, catalogue, batch_size
        self.model = ListWriter.from_pretrained(folder).eval()

    @classmethod
    def open(cls, folder: str, inputs: Inputs, sampling: Sampling) -> Self:
        return cls(folder, inputs.catalogue(folder), sampling.batch_size)

    def rank(self, slates: list[Slate]) -> list[Ranking]:
        """InputError where the network has too few outputs for a slate."""
        import torch

        from gr2.rerankers.list_writer.batch import NONE, read_requests, to_request
        from gr2.rerankers.list_writer.decode import check_outputs, write_lists

        model, rankings = self.model, []
        check_outputs(model, slates, self.folder)
        for start in range(0, len(slates), self.batch_size):
            batch = slates[start : start + self.batch_size]
            with torch.inference_mode():
                encoded = model.encode(read_requests(batch, self.catalogue, model.config.history))
                lists = to_request(write_lists(model, encoded, model.config.list_size), encoded.order).tolist()
            for slate, indices in zip(batch, lists, strict=True):
                first = [slate.candidates[index] for index in indices if index != NONE]
                others = [item_id for item_id in slate.candidates if item_id not in first]
                rankings.append(Ranking(slate.slate_id, first + others))
        return rankings
