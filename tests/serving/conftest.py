import polars as pl
import pytest

from gr2.files.slates import Slate, read_slates
from gr2.runner.stage import run_stage
from tests.helpers import fit, once
from tests.serving.server import serving

TOKEN = "a-token"


def known(world) -> dict[str, str]:
    names = ("items", "interactions", "embeddings", "semantic_ids")
    return {name: getattr(world, name) for name in names}


def words(world, **more: object) -> list[str]:
    return [word for name, value in (known(world) | more).items() for word in (f"--{name}", str(value))]


@pytest.fixture(scope="session")
def fitted(world):
    """Folders of a blend, a PRM with features and a pointer, after next to no training."""
    folder = world.root / "served"
    tiny = {"hidden_size": 8, "epochs": 1, "patience": 1}
    with once(folder) as missing:
        if missing:
            files = known(world) | {"slates": world.slates}
            fit("blend", folder / "blend", files)
            fit("prm", folder / "prm", files, features=True, **tiny)
            fit("glorank", folder / "pointer", files, space="pointer", list_size=5, **tiny)
            for kind in ("blend", "prm", "pointer"):
                (folder / kind / "manifest.json").write_text(f'{{"stage": "{kind}", "outputs": {{}}}}')
    return folder


@pytest.fixture(scope="session")
def asked(world) -> list[Slate]:
    """Test slates as a server sees them: no labels."""
    slates = read_slates(world.slates, split="test")
    return [Slate(own.slate_id, own.history, own.candidates, scores=own.scores) for own in slates]


@pytest.fixture(scope="session")
def server(world, fitted):
    """Of the blend, with a token and a queue for four."""
    more = words(world, deadline=20000, hang=60, max_bytes=100_000, max_candidates=200, max_text=300)
    with serving(fitted / "blend", *more, token=TOKEN) as running:
        yield running


def rerank(world, reranker, folder, **more) -> dict[str, dict]:
    """slate_id -> the row that `gr2 rerank` writes."""
    options = known(world) | {"slates": world.slates, "reranker": reranker, "output_dir": folder, "alone": 0} | more
    run_stage("rerank", [word for name, value in options.items() for word in (f"--{name}", str(value))])
    return {row["slate_id"]: row for row in pl.read_parquet(folder / "rankings.parquet").iter_rows(named=True)}
