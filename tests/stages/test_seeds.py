from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from networks import LOADED
from project import ROOT
from scipy.stats import binomtest

from mnist12k.cnn.settings import Recipe
from mnist12k.digits.settings import RAW
from mnist12k.files import read_json
from mnist12k.outputs import RESULTS, SEEDS_METRICS, SeedsSummary, read_results
from mnist12k.params import Params
from mnist12k.stages import seeds
from mnist12k.stages.settings import Seeds

Summaries = dict[str, SeedsSummary]


@pytest.fixture
def study(
    tmp_path: Path, idx_folder: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> tuple[Seeds, Mapping[str, Recipe]]:
    """Two recipes of one epoch and two seeds, in a folder with small data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/mnist" / RAW).parent.mkdir(parents=True)
    (tmp_path / "data/mnist" / RAW).symlink_to(idx_folder, target_is_directory=True)
    recipes = {
        name: recipe.model_copy(update={"epochs": 1}) for name, recipe in params.recipes.items()
    }
    small = {"recipes": ("fast", "reference"), "count": 2, "validation_size": 100}
    return params.seeds.model_copy(update=small), recipes


def results_of(*accuracies: tuple[str, float]) -> pd.DataFrame:
    """Return results with these recipes and test accuracies, and the seeds 1, 2, ..."""
    rows = [
        seeds.Result(name, seed, 5, None, accuracy, 10)
        for seed, (name, accuracy) in enumerate(accuracies, start=1)
    ]
    return pd.DataFrame(rows)


@pytest.mark.slow
def test_a_run_trains_only_what_is_missing(
    study: tuple[Seeds, Mapping[str, Recipe]], capfd: pytest.CaptureFixture[str]
) -> None:
    settings, recipes = study
    seeds.run(settings, recipes, LOADED.train)
    results = read_results()
    expected = [("fast", 1), ("fast", 2), ("reference", 1), ("reference", 2)]
    assert list(zip(results["recipe"], results["seed"], strict=True)) == expected
    assert "4 to go, on 500 images each" in capfd.readouterr().out
    assert results["validation_accuracy"].between(0, 1).all()
    assert seeds.FIGURE.stat().st_size > 1000

    lines = RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)
    RESULTS.write_text("".join(lines[:-1]), encoding="utf-8")
    seeds.run(settings, recipes, LOADED.train)
    assert "3 trainings done, 1 to go" in capfd.readouterr().out
    assert RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)[:-1] == lines[:-1]
    pd.testing.assert_frame_equal(
        read_results().drop(columns="seconds"), results.drop(columns="seconds"), check_exact=True
    )

    changed = recipes["reference"].model_copy(update={"dropout": 0.2})
    seeds.run(settings, {**recipes, "reference": changed}, LOADED.train)
    assert "2 trainings done, 2 to go" in capfd.readouterr().out
    summaries = read_json(SEEDS_METRICS, Summaries)
    assert {name: each.trainings for name, each in summaries.items()} == {"fast": 2, "reference": 2}


def test_a_summary_has_the_mean_and_its_interval() -> None:
    summary = seeds.summary(results_of(("best", 0.99), ("best", 0.98)), 60_000)
    assert summary.test_accuracy_mean == pytest.approx(0.985)
    assert summary.test_accuracy_sd == pytest.approx(0.01 / 2**0.5)
    half = 12.7062 * 0.01 / 2  # t for one degree of freedom; sd / sqrt(2) is 0.005
    assert summary.test_accuracy_mean_low == pytest.approx(0.985 - half, rel=1e-5)
    assert summary.test_accuracy_mean_high == pytest.approx(0.985 + half, rel=1e-5)
    assert summary.training_images == 60_000


def test_a_recipe_is_summarised_from_its_second_training_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = results_of(("fast", 0.99), ("fast", 0.98), ("best", 0.97))
    seeds.summarise(results, 60_000)
    assert list(read_json(SEEDS_METRICS, Summaries)) == ["fast"]
    assert seeds.FIGURE.stat().st_size > 1000
    seeds.summarise(results[results["recipe"] == "best"], 60_000)
    assert not SEEDS_METRICS.exists()
    assert not seeds.FIGURE.exists()


def test_the_committed_summaries_agree_with_the_committed_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    if not SEEDS_METRICS.is_file():
        pytest.skip("reports/seeds is not committed")
    results = read_results()
    for name, summary in read_json(SEEDS_METRICS, Summaries).items():
        accuracies = results[results["recipe"] == name]["test_accuracy"]
        assert summary.trainings == len(accuracies)
        assert summary.test_accuracy_mean == pytest.approx(accuracies.mean())


def test_equal_accuracies_have_an_interval_of_one_point() -> None:
    columns = ["recipe", "seed", "epochs", "validation_accuracy", "test_accuracy", "seconds"]
    rows = [("best", seed, 5, None, 0.99, 10.0) for seed in (1, 2, 3)]
    equal = seeds.summary(pd.DataFrame(rows, columns=columns), 60_000)
    assert equal.test_accuracy_mean_low == equal.test_accuracy_mean_high == 0.99


def test_the_interval_of_the_published_accuracy_is_the_published_one() -> None:
    interval = binomtest(9946, 10_000).proportion_ci(method="wilson")
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.9930, 0.9959)
