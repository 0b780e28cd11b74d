from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from networks import LOADED
from project import ROOT
from scipy.stats import binomtest, ttest_rel

from mnist12k.cnn.settings import Train
from mnist12k.digits.settings import RAW
from mnist12k.errors import UserError
from mnist12k.files import read_json
from mnist12k.outputs import RESULTS, SEEDS_METRICS, SeedsSummaries, SeedsSummary, read_results
from mnist12k.paths import store_root
from mnist12k.processes import this_process
from mnist12k.search.given import given_results, open_given, queue_given, take_queued
from mnist12k.search.queue import PROCESS, requeue_dead
from mnist12k.search.storage import JOURNAL
from mnist12k.stages import seeds
from mnist12k.stages.settings import Seeds

BEST = LOADED.training("reference", "best")
SEARCH = LOADED.seeds_search()


def trainings(settings: Seeds, **changes: object) -> list[Train]:
    """Return the trainings of the pairs, each of one epoch, with some settings changed."""
    pairs = [LOADED.training(*pair) for pair in settings.pairs()]
    return [each.model_copy(update={"epochs": 1} | changes) for each in pairs]


@pytest.fixture
def study(tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Seeds:
    """Three pairs of network and recipe, with two seeds, in a folder with small data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/mnist" / RAW).parent.mkdir(parents=True)
    (tmp_path / "data/mnist" / RAW).symlink_to(idx_folder, target_is_directory=True)
    pairs = {"reference": ("fast", "reference"), "resnet": ("fast",)}
    return Seeds(recipes=pairs, count=2, validation_size=100, device="cpu", together=1)


def results_of(*accuracies: float, recipe: str = "best", network: str = "reference") -> Any:
    """Return results with these test accuracies, from the seeds 1, 2, ..."""
    rows = [
        seeds.Result(network, recipe, seed, 5, None, accuracy, 10)
        for seed, accuracy in enumerate(accuracies, start=1)
    ]
    return pd.DataFrame(rows)


def summary(*accuracies: float) -> SeedsSummary:
    return seeds.summary(results_of(*accuracies), None, BEST, 60_000)


@pytest.mark.long
@pytest.mark.slow
def test_a_run_trains_only_what_is_missing(study: Seeds, capfd: pytest.CaptureFixture[str]) -> None:
    seeds.run(study, SEARCH, trainings(study))
    results = read_results()
    pairs = [("reference", "fast"), ("reference", "reference"), ("resnet", "fast")]
    expected = [(*pair, seed) for pair in pairs for seed in (1, 2)]
    assert [*results[["network", "recipe", "seed"]].itertuples(index=False, name=None)] == expected
    assert "6 to go, on 500 images each" in capfd.readouterr().out
    assert results["validation_accuracy"].between(0, 1).all()
    assert seeds.FIGURE.stat().st_size > 1000

    lines = RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)
    RESULTS.write_text("".join(lines[:-1]), encoding="utf-8")
    seeds.run(study, SEARCH, trainings(study))
    assert "5 trainings done, 1 to go" in capfd.readouterr().out
    assert RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)[:-1] == lines[:-1]
    pd.testing.assert_frame_equal(
        read_results().drop(columns="seconds"), results.drop(columns="seconds"), check_exact=True
    )

    fast, reference, resnet = trainings(study)
    other = LOADED.training("vgg", "fast").architecture  # of the same name, but another network
    changed = [resnet.model_copy(update={"architecture": other})]
    seeds.run(study, SEARCH, [fast, reference.model_copy(update={"dropout": 0.2}), *changed])
    assert "2 trainings done, 4 to go" in capfd.readouterr().out
    summaries = read_json(SEEDS_METRICS, SeedsSummaries)
    assert [(name, recipe) for name in summaries for recipe in summaries[name]] == pairs
    assert summaries["reference"]["fast"].difference is None
    assert summaries["reference"]["fast"].parameters == 12_442
    assert summaries["resnet"]["fast"].parameters == other.parameters()
    difference = summaries["resnet"]["fast"].difference
    assert difference is not None
    assert difference.seeds == 2


@pytest.mark.slow
@pytest.mark.usefixtures("study", "one_thread")
def test_trainings_as_one_end_where_each_one_would_alone() -> None:
    pairs = [LOADED.training("reference", "fast"), LOADED.training("resnet", "fast")]
    changes = {"epochs": 1, "device": "cpu", "validation_size": 100}
    todo = [
        pair.model_copy(update=changes | {"seed": seed}) for pair in pairs for seed in (1, 2, 3)
    ]

    def work(together: int) -> list[seeds.Result]:
        (store_root() / JOURNAL).unlink(missing_ok=True)
        search = SEARCH._replace(tune=SEARCH.tune.model_copy(update={"together": together}))
        study = open_given(search, seeds.SEEDS)
        queue_given(study, todo)
        seeds.work_seeds(search, study.study_name)
        return [seeds.Result(*values) for values in given_results(study, todo)]

    alone = work(1)
    assert [(result.network, result.seed) for result in alone] == [
        (network, seed) for network in ("reference", "resnet") for seed in (1, 2, 3)
    ]
    for one, other in zip(alone, work(4), strict=True):  # 3 + 1 as one, then 2
        assert one._replace(test_accuracy=0, validation_accuracy=0, seconds=0) == other._replace(
            test_accuracy=0, validation_accuracy=0, seconds=0
        )
        assert one.test_accuracy == pytest.approx(other.test_accuracy, abs=0.03)
        assert one.validation_accuracy == pytest.approx(other.validation_accuracy, abs=0.03)


@pytest.mark.slow
@pytest.mark.usefixtures("study", "one_thread")
def test_a_training_whose_worker_has_died_is_done_by_another() -> None:
    changes = {"epochs": 1, "device": "cpu", "validation_size": 100}
    fast = LOADED.training("reference", "fast").model_copy(update=changes)
    todo = [fast.model_copy(update={"seed": seed}) for seed in (1, 2)]
    study = open_given(SEARCH, seeds.SEEDS)
    queue_given(study, todo)
    (lost,) = take_queued(study, 1)
    lost.set_user_attr(PROCESS, f"{this_process()}0")  # which has started at another time
    requeue_dead(study, {})
    seeds.work_seeds(SEARCH, study.study_name)
    results = [seeds.Result(*values) for values in given_results(study, todo)]
    assert sorted(result.seed for result in results) == [1, 2]


@pytest.mark.usefixtures("study")
def test_a_training_that_diverges_among_others_stops_them_with_one_line() -> None:
    fast = LOADED.training("reference", "fast")
    changes = {"epochs": 1, "device": "cpu", "validation_size": 100, "learning_rate": 1e30}
    two = [fast.model_copy(update=changes | {"seed": seed}) for seed in (1, 2)]
    with pytest.raises(UserError, match=r"^the loss is .* in epoch 1 .*: training stopped"):
        seeds.train_all(two)


def test_the_device_is_part_of_what_identifies_results_unless_it_is_the_cpu() -> None:
    cpu = BEST.model_copy(update={"device": "cpu"})
    cuda = BEST.model_copy(update={"device": "cuda"})
    assert seeds.identities([cpu]) != seeds.identities([cuda])
    assert "device" not in seeds.identities([cpu])["reference"]["best"]
    assert seeds.study_kind("cpu") != seeds.study_kind("cuda")  # whose workers take other trainings


def test_a_device_that_is_not_here_is_one_line(study: Seeds) -> None:
    absent = study.model_copy(update={"device": "xpu"})
    with pytest.raises(UserError, match=r"^seeds.device = 'xpu' is not on this machine"):
        seeds.run(absent, SEARCH, trainings(absent))
    elsewhere = SEARCH._replace(train=SEARCH.train.model_copy(update={"device": "xpu"}))
    with pytest.raises(UserError, match=r"^seeds.device = 'xpu' is not on this machine"):
        seeds.help_seeds(elsewhere)


def test_a_summary_has_the_mean_and_its_interval() -> None:
    two = summary(0.99, 0.98)
    assert two.test_accuracy_mean == pytest.approx(0.985)
    assert two.test_accuracy_sd == pytest.approx(0.01 / 2**0.5)
    half = 12.7062 * 0.01 / 2  # t for one degree of freedom; sd / sqrt(2) is 0.005
    assert two.test_accuracy_mean_low == pytest.approx(0.985 - half, rel=1e-5)
    assert two.test_accuracy_mean_high == pytest.approx(0.985 + half, rel=1e-5)
    assert two.training_images == 60_000
    assert (two.parameters, two.multiply_adds) == (12_442, 1_602_432)


def test_a_difference_is_scipys_paired_one_over_the_seeds_that_both_have() -> None:
    vgg = results_of(0.994, 0.997, 0.996, 0.991, network="vgg")
    base = results_of(0.993, 0.995, 0.996).sample(frac=1, random_state=1)  # in any order
    difference = seeds.difference(vgg, base)
    assert difference is not None
    test = ttest_rel([0.994, 0.997, 0.996], [0.993, 0.995, 0.996])
    low, high = test.confidence_interval(0.95)
    assert difference.seeds == 3
    assert difference.mean == pytest.approx(0.001)
    assert (difference.low, difference.high) == pytest.approx((low, high))
    assert seeds.difference(vgg, base[base["seed"] == 2]) is None


def test_a_recipe_is_summarised_from_its_second_training_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = [LOADED.training("reference", "fast"), BEST]
    one = results_of(0.97)
    seeds.summarise(pd.concat([results_of(0.99, 0.98, recipe="fast"), one]), both, 60_000)
    assert list(read_json(SEEDS_METRICS, SeedsSummaries)["reference"]) == ["fast"]
    assert seeds.FIGURE.stat().st_size > 1000
    seeds.summarise(one, both, 60_000)
    assert not SEEDS_METRICS.exists()
    assert not seeds.FIGURE.exists()


def test_the_committed_summaries_agree_with_the_committed_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    if not SEEDS_METRICS.is_file():
        pytest.skip("reports/seeds is not committed")
    results = read_results()
    for network, by_recipe in read_json(SEEDS_METRICS, SeedsSummaries).items():
        for recipe, committed in by_recipe.items():
            accuracies = seeds.of_pair(results, network, recipe)["test_accuracy"]
            assert committed.trainings == len(accuracies)
            assert committed.test_accuracy_mean == pytest.approx(accuracies.mean())


def test_the_committed_results_are_of_the_networks_and_recipes_in_params(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    own = {"validation_size": LOADED.seeds.validation_size, "device": LOADED.seeds.device}
    pairs = [LOADED.training(*pair).model_copy(update=own) for pair in LOADED.seeds.pairs()]
    assert len(seeds.earlier_results(pairs)) == len(read_results())


def test_equal_accuracies_have_an_interval_of_one_point() -> None:
    equal = summary(0.99, 0.99, 0.99)
    assert equal.test_accuracy_mean_low == equal.test_accuracy_mean_high == 0.99


def test_the_interval_of_the_published_accuracy_is_the_published_one() -> None:
    interval = binomtest(9946, 10_000).proportion_ci(method="wilson")
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.9930, 0.9959)
