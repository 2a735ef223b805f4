from gr2.rerankers.protocol import Inputs
from gr2.serving.settings import Settings


def test_links_are_followed(tmp_path, monkeypatch):
    """Of the model and of its files; a rule is no folder, whatever lies here."""
    monkeypatch.chdir(tmp_path)
    for name in ("monday/model", "popularity"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("monday")
    settings = Settings("current/model", Inputs("current/items.parquet", embeddings="current/vectors.safetensors"))
    real = settings.follow_links()
    assert real.reranker == str(tmp_path / "monday/model")
    assert real.inputs == Inputs(
        f"{tmp_path}/monday/items.parquet", embeddings=f"{tmp_path}/monday/vectors.safetensors"
    )
    assert Settings("popularity", real.inputs).follow_links().reranker == "popularity"
    assert Settings("model_of_nobody", real.inputs).follow_links().reranker == "model_of_nobody"
