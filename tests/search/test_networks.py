"""A search over networks and over the fields of their blocks, within the budget."""

from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import tune_command
from networks import LOADED
from optuna.trial import TrialState
from project import ROOT
from ruamel.yaml import YAML
from workspace import search_metrics

from mnist12k.digits.dataset import Digits, split
from mnist12k.errors import UserError
from mnist12k.files import read_yaml
from mnist12k.params import load_params
from mnist12k.search.best import apply_best, best_params, write_best
from mnist12k.search.digest import study_digest
from mnist12k.search.queue import enqueue
from mnist12k.search.settings import SearchSettings, is_integer
from mnist12k.search.trial import IMPOSSIBLE, run_trial

SETTINGS = LOADED.search()
CHANNELS = {"channels": [{"low": 2, "high": 12}] * 6}  # of the six blocks of vgg


def write_params(path: Path, space: dict[str, Any], **tune: Any) -> None:
    """Write the project's params.yaml with another space and other keys of its section tune."""
    params = read_yaml(ROOT / "params.yaml")
    params["tune"] |= {"space": space} | tune
    text = StringIO()
    YAML(typ="safe").dump(params, text)
    path.write_text(text.getvalue(), encoding="utf-8")


def searching(tmp_path: Path, space: dict[str, Any]) -> SearchSettings:
    """Return the settings of a search over a space, from a recipe of one epoch."""
    write_params(tmp_path / "params.yaml", space)
    settings = load_params(tmp_path / "params.yaml").search()
    return settings._replace(start=settings.start.model_copy(update={"epochs": 1, "rotation": 0}))


def test_a_point_may_name_a_network_and_the_fields_of_its_blocks() -> None:
    assert SETTINGS.for_point({"network": "resnet"}, 1).architecture == LOADED.architecture(
        "resnet"
    )
    point = {"network": "vgg", "channels": [4, 5, 6, 7, 8, 9], "learning_rate": 0.1}
    train = SETTINGS.for_point(point, 1)
    assert [block.channels for block in train.architecture.blocks] == [4, 5, 6, 7, 8, 9]
    assert [block.pool for block in train.architecture.blocks] == [False, True] * 3
    assert (train.network, train.learning_rate) == ("vgg", 0.1)
    assert is_integer("channels.3")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"network": ["vgg", "vga"]}, "network = 'vga': allowed: "),
        ({"channels": [{"low": 2, "high": 9}] * 5}, "6 values are needed, one per block"),
        ({"channels": [8, 16]}, "channels = 8: 6 values are needed"),
        ({"kernel": [{"low": 3, "high": 30}] * 6}, "network reference: block 3: a map of side 1"),
        ({"network": {"resnet": {"channels": [{"low": 4, "high": 8}] * 7}}}, "needs a projection"),
    ],
)
def test_an_impossible_space_is_one_line(
    tmp_path: Path, space: dict[str, Any], message: str
) -> None:
    write_params(tmp_path / "params.yaml", space)
    with pytest.raises(UserError, match=r"tune\.space: ") as caught:
        load_params(tmp_path / "params.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_trials_of_different_networks_are_not_trained_as_one(tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", {"network": ["vgg", "resnet"]}, together=2)
    with pytest.raises(UserError, match="network: trials together must agree in it"):
        load_params(tmp_path / "params.yaml")


def test_another_network_in_the_space_is_another_search(tmp_path: Path) -> None:
    (tmp_path / "data/mnist").mkdir(parents=True)
    two = searching(tmp_path, {"network": ["vgg", "resnet"]})
    three = searching(tmp_path, {"network": ["vgg", "resnet", "reference"]})
    changed = two._replace(networks=dict(two.networks) | {"vgg": two.networks["resnet"]})
    digests = [study_digest(each) for each in (two, three, changed)]
    assert len(set(digests)) == 3


def test_a_network_above_the_budget_is_pruned_with_its_reason_and_told_to_the_sampler(
    tmp_path: Path, small_training_digits: Digits
) -> None:
    settings = searching(tmp_path, {"network": {"vgg": CHANNELS}})
    digits = split(small_training_digits, 100)
    study = optuna.create_study()
    for channels in ([12] * 6, [2] * 6):
        fixed = {f"channels.{block}": value for block, value in enumerate(channels)}
        enqueue(study, {"network": "vgg"} | fixed, {})
    tight = settings._replace(train=settings.train.model_copy(update={"parameter_budget": 2000}))
    study.optimize(lambda trial: run_trial(trial, tight, digits), n_trials=2)
    large, small = study.trials
    assert (large.state, small.state) == (TrialState.PRUNED, TrialState.COMPLETE)
    assert "parameters; train.parameter_budget allows 2,000" in large.user_attrs[IMPOSSIBLE]
    assert large.constraints["parameters"] > 0 >= small.constraints["parameters"]
    assert IMPOSSIBLE not in small.user_attrs


@pytest.mark.parametrize("recipe", ["fast", "best"])
def test_a_winning_network_of_its_own_is_written_to_params_yaml(
    tmp_path: Path, recipe: str
) -> None:
    point = {"network": "resnet", "kernel": [3, 3, 3, 3, 3, 1, 1], "padding": [1] * 5 + [0] * 2}
    settings = tune_command.with_tune(SETTINGS, recipe=recipe)
    best = best_params(settings, point | {"learning_rate": 0.3}, search_metrics())
    write_best(best, tmp_path / "best.yaml")
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for _ in range(2):  # again: it replaces the former one
        apply_best(tmp_path / "best.yaml", params)
        train = load_params(params).train
        assert (train.network, train.recipe, train.learning_rate) == ("tuned", recipe, 0.3)
        expected = settings.for_point(point, 1).architecture
        assert train.architecture == expected


def test_a_winning_network_of_params_yaml_is_chosen_by_its_name(tmp_path: Path) -> None:
    best = best_params(SETTINGS, {"network": "vgg", "dropout": 0.02}, search_metrics())
    write_best(best, tmp_path / "best.yaml")
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    apply_best(tmp_path / "best.yaml", params)
    assert load_params(params).train.network == "vgg"


@pytest.mark.slow
def test_a_search_over_networks_runs_and_its_winner_can_be_applied(
    tmp_path: Path, idx_folder: Path
) -> None:
    folder = tune_command.new_folder(tmp_path / "searched", idx_folder)
    tune = read_yaml(folder / "params.yaml")["tune"]
    space = {"network": {"reference": {}, "vgg": CHANNELS, "resnet": {}}}
    params = read_yaml(folder / "params.yaml")
    params["tune"] = tune | {"space": space}
    params["recipes"]["fast"]["epochs"] = 1
    text = StringIO()
    YAML(typ="safe").dump(params, text)
    (folder / "params.yaml").write_text(text.getvalue(), encoding="utf-8")
    output = tune_command.run(folder, "tune")
    assert "Warning" not in output
    trials = pd.read_csv(folder / "reports/tune/trials.csv")
    assert trials["network"].isin(list(space["network"])).all()
    tune_command.run(folder, "tune", "--apply", "--force")
    load_params(folder / "params.yaml")
