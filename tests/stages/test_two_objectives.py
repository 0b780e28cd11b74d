"""A search for a low loss and a small or fast network, on small data."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from project import ROOT
from tune_command import new_folder, read_report, run, set_tune, start

from mnist12k.cnn.network import new_network
from mnist12k.params import load_params

pytestmark = pytest.mark.slow

SPACE = """  space:
    network: [reference, vgg, resnet]
    learning_rate: {low: 0.05, high: 1.5, log: true}
"""


def search_networks(folder: Path, idx_folder: Path, **tune: object) -> Path:
    new_folder(folder, idx_folder, **tune)
    path = folder / "params.yaml"
    before = path.read_text(encoding="utf-8").partition("  space:\n")[0]
    path.write_text(before + SPACE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=["parameters", "seconds"])
def searched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, idx_folder: Path
) -> tuple[Path, str]:
    """The folder of a finished search, and its second objective."""
    folder = tmp_path_factory.mktemp("objectives") / request.param
    search_networks(folder, idx_folder, trials=8, second_objective=request.param)
    (folder / "output.txt").write_text(run(folder, "tune"))
    return folder, request.param


@pytest.mark.long
def test_the_front_has_every_trial_that_no_other_beats(searched: tuple[Path, str]) -> None:
    folder, second = searched
    found = read_report(folder, "front.csv")
    trials = read_report(folder, "trials.csv").set_index("trial")
    assert len(found) == len(trials) == 8
    pairs = list(zip(found["validation_loss"], found[second], strict=True))
    beaten = [any(b[0] <= a[0] and b[1] <= a[1] and a != b for b in pairs) for a in pairs]
    assert [not each for each in beaten] == found["on_front"].tolist()
    losses = trials.loc[found["trial"], "validation_loss"]
    assert losses.tolist() == found["validation_loss"].tolist()
    text = (folder / "reports/tune/ranking.md").read_text(encoding="utf-8")
    rows = text.partition("## Pareto front")[2].split("|---")[0]
    assert second in rows
    assert text.partition("## Pareto front")[2].count("\n| ") == 2 + found["on_front"].sum()
    assert (folder / "reports/tune/front.png").is_file()


@pytest.mark.long
def test_the_costs_are_those_of_the_trials(searched: tuple[Path, str]) -> None:
    folder, second = searched
    found = read_report(folder, "front.csv").set_index("trial")[second]
    trials = read_report(folder, "trials.csv").set_index("trial")
    if second == "seconds":
        expected = trials["seconds"]
    else:
        params = load_params(ROOT / "params.yaml")
        networks = {
            name: new_network(params.training(name, "fast"), torch.device("cpu"))
            for name in ("reference", "vgg", "resnet")
        }
        counts = {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()
        }
        expected = trials["network"].map(counts)
    pd.testing.assert_series_equal(
        found.sort_index(), expected.sort_index(), check_names=False, check_dtype=False
    )


@pytest.mark.long
def test_a_search_with_one_objective_removes_the_front_of_an_earlier_one(
    searched: tuple[Path, str],
) -> None:
    folder, _ = searched
    set_tune(folder, second_objective="null", trials=3)
    assert "3 to go" in run(folder, "tune")
    assert not [*(folder / "reports/tune").glob("front.*")]
    assert "Pareto" not in (folder / "reports/tune/ranking.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value"), [("pruner", "median"), ("together", 2), ("sampler", "cma_es")]
)
def test_what_two_objectives_rule_out_is_one_line(
    tmp_path: Path, idx_folder: Path, key: str, value: object
) -> None:
    folder = search_networks(
        tmp_path / "refused", idx_folder, **{"second_objective": "seconds", key: value}
    )
    with start(folder, "tune") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = output.splitlines()
    assert line.startswith("mnist12k: error: ")
    assert "second_objective" in line
    assert key in line
