import csv
import json
from pathlib import Path

import pytest
from conftest import ROOT

from mnist12k.digits.fetch import RAW
from mnist12k.params import Params
from mnist12k.stages import seeds
from mnist12k.stages.seeds import Row, summaries

RESULTS = Path("reports/seeds/results.csv")


@pytest.fixture
def few(
    tmp_path: Path, idx_folder: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> Params:
    """Two recipes of one epoch, two seeds, on small digits in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/mnist" / RAW).parent.mkdir(parents=True)
    (tmp_path / "data/mnist" / RAW).symlink_to(idx_folder, target_is_directory=True)
    short = {
        name: recipe.model_copy(update={"epochs": 1}) for name, recipe in params.recipes.items()
    }
    chosen = params.seeds.model_copy(
        update={"recipes": ("fast", "seed"), "count": 2, "validation_size": 100}
    )
    return params.model_copy(update={"recipes": short, "seeds": chosen})


def read_rows() -> list[dict[str, str]]:
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_run_leaves_a_row_a_training_and_a_later_run_trains_what_is_missing(
    few: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    seeds.run(few)
    rows = read_rows()
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        ("fast", "1"),
        ("fast", "2"),
        ("seed", "1"),
        ("seed", "2"),
    ]
    assert "4 to go, on 500 images each" in capfd.readouterr().out
    assert all(float(row["validation_accuracy"]) <= 1 for row in rows)
    assert Path("reports/seeds/test_accuracy.png").stat().st_size > 1000

    RESULTS.write_text("\n".join(RESULTS.read_text("utf-8").splitlines()[:-1]) + "\n", "utf-8")
    seeds.run(few)
    told = capfd.readouterr().out
    assert "3 trainings are there, 1 to go" in told
    again = read_rows()
    assert again[:3] == rows[:3]
    del again[3]["seconds"], rows[3]["seconds"]
    assert again[3] == rows[3]

    changed = few.recipes["seed"].model_copy(update={"dropout": 0.2})
    recipes = few.recipes | {"seed": changed}
    seeds.run(few.model_copy(update={"recipes": recipes}))
    assert "2 trainings are there, 2 to go" in capfd.readouterr().out
    metrics = json.loads(Path("reports/seeds/metrics.json").read_text("utf-8"))
    assert metrics["fast"]["trainings"] == metrics["seed"]["trainings"] == 2


def test_a_summary_is_mean_and_interval_as_computed_by_hand() -> None:
    rows = [Row("best", seed, 5, None, accuracy, 10) for seed, accuracy in ((1, 0.99), (2, 0.98))]
    found = summaries(rows, 60_000)["best"]
    assert found["test_accuracy_mean"] == pytest.approx(0.985)
    assert found["test_accuracy_sd"] == pytest.approx(0.01 / 2**0.5)
    half = 12.7062 * 0.01 / 2  # t with one degree of freedom; sd / sqrt(2) is 0.005
    assert found["test_accuracy_mean_low"] == pytest.approx(0.985 - half, rel=1e-5)
    assert found["test_accuracy_mean_high"] == pytest.approx(0.985 + half, rel=1e-5)
    assert found["training_images"] == 60_000


def test_a_study_that_goes_on_shows_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of = [("fast", 0.99), ("fast", 0.98), ("best", 0.97)]
    rows = [Row(name, seed, 5, None, accuracy, 10) for seed, (name, accuracy) in enumerate(of)]
    seeds.summarise(rows, 60_000)
    assert list(json.loads(seeds.FIGURES.read_text("utf-8"))) == ["fast"]
    assert seeds.PICTURE.stat().st_size > 1000
    seeds.summarise(rows[2:], 60_000)  # one training has no spread
    assert not seeds.FIGURES.exists()
    assert not seeds.PICTURE.exists()


def test_the_committed_summary_is_of_the_committed_rows() -> None:
    folder = ROOT / "reports/seeds"
    if not (folder / "metrics.json").is_file():
        pytest.skip("no study has been run here")
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, found in metrics.items():
        accuracies = [float(row["test_accuracy"]) for row in rows if row["recipe"] == name]
        assert len(accuracies) == found["trainings"]
        assert found["test_accuracy_mean"] == pytest.approx(sum(accuracies) / len(accuracies))
