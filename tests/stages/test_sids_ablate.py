import re

import polars as pl
import pytest

from gr2.files.artifacts import read_json, read_lines
from gr2.stages import sids_ablate as ablate
from tests.helpers import refused
from tests.stages.test_sids import QUICK


def study(world, folder, **changed):
    options = {"switches": ["ema", "random_last"], "seeds": [0, 1], "levels": 2, "codes": 8} | QUICK | changed
    ablate.run(
        ablate.Config(
            items=world.items,
            embeddings=world.embeddings,
            interactions=world.interactions,
            output_dir=str(folder),
            **options,
        )
    )


def test_every_combination_and_seed_has_a_row_and_the_table_their_means(world, tmp_path):
    study(world, tmp_path)
    rows = pl.DataFrame(read_lines(tmp_path / "ablation.jsonl", ("seed", "uniqueness")))
    assert len(rows) == 8 and len(rows.select("seed", "ema", "random_last").unique()) == 8
    found = read_json(tmp_path / "ablation.json")["ema"]["uniqueness"]
    means = {on: rows.filter(pl.col("ema") == on)["uniqueness"].mean() for on in (True, False)}
    assert found["with"] == pytest.approx(means[True]) and found["without"] == pytest.approx(means[False])
    assert found["lowest"] <= found["difference"] <= found["highest"]
    assert f"| ema | uniqueness | {means[True]:.4f} | {means[False]:.4f} |" in (tmp_path / "ablation.md").read_text()
    random = rows.group_by("random_last").agg(pl.col("uniqueness").mean()).sort("random_last")["uniqueness"]
    assert random[0] < random[1]
    assert {file.name for file in tmp_path.iterdir()} == {"ablation.jsonl", "ablation.json", "ablation.md"}


def test_a_killed_study_goes_on_behind_its_last_row(world, tmp_path, monkeypatch):
    study(world, tmp_path / "whole")
    measure, measured = ablate.measure, []

    def killed(config, items, vectors, seed, chosen):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append((seed, chosen))
        return measure(config, items, vectors, seed, chosen)

    monkeypatch.setattr(ablate, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        study(world, tmp_path / "killed")
    monkeypatch.setattr(ablate, "measure", lambda *a: measured.append(a[3:]) or measure(*a))
    study(world, tmp_path / "killed")
    assert len(measured) == 4
    for name in ("ablation.jsonl", "ablation.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(("words", "complaint"), [
    (["--switches", "ema", "moon"], r"--switches moon: expected some of kmeans_init, ema"),
    (["--switches", "ema", "ema"], r"--switches ema ema: expected each once"),
    (["--seeds", "0", "0"], r"--seeds 0 0: expected each once"),
    (["--seeds", "-1"], r"--seeds -1: expected a number of at least 0"),
    (["--reset_after", "0"], r"--reset_after 0: expected the value to use when it is on"),
    (["--diversity", "-1"], r"--diversity -1.0: expected a number of at least 0"),
    (["--epochs", "10", "--contrastive", "0.2", "--interactions", "e"],
     "--warmup_epochs 10: expected fewer than the 10"),
    ([], r"--contrastive 0.1: expected --interactions"),
])  # fmt: skip
def test_wrong_options_are_refused_before_anything_is_read(tmp_path, words, complaint):
    complaint_made = refused(
        "sids-ablate", "--items", "i", "--embeddings", "e", "--output_dir", tmp_path / "out", *words
    )
    assert re.search(complaint, complaint_made) and not (tmp_path / "out").exists()
