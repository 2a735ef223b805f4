import pytest

from gr2.stages import traces
from tests.traces.fake_teacher import FakeSampler, write_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture
def fake(monkeypatch) -> FakeSampler:
    sampler = FakeSampler()
    monkeypatch.setenv("OPENAI_API_KEY", "a key of nothing")
    monkeypatch.setattr(traces, "open_sampler", lambda *_, **__: sampler)
    return sampler
