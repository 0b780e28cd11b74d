import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from workspace import inside

from mnist12k.errors import UserError
from mnist12k.files import write_table
from mnist12k.outputs import PREDICTIONS
from mnist12k.tracking import registry
from mnist12k.tracking.registry import CHAMPION, REGISTERED_MODEL, compare, promote, register
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow
LABELS = [digit % 10 for digit in range(200)]


def predictions(wrong: Collection[int], labels: Sequence[int] = LABELS) -> pd.DataFrame:
    """Return predictions that are correct for all images but these."""
    rows = [
        (index, label, (label + 1) % 10 if index in wrong else label, 0.9)
        for index, label in enumerate(labels)
    ]
    return pd.DataFrame(rows, columns=["index", "label", "prediction", "probability"])


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Why models cannot be loaded, by their URIs; tests/tracking/test_publish.py has real ones."""
    faults: dict[str, str] = {}
    monkeypatch.setattr(registry, "model_fault", lambda uri: faults.get(uri, ""))
    return faults


@pytest.fixture
def client(tmp_path: Path, faults: dict[str, str]) -> Iterator[MlflowClient]:
    assert not faults
    with inside(tmp_path):
        client, _ = connect()
        yield client


def challenge(client: MlflowClient, wrong: Sequence[int], level: float = 0.05) -> str:
    """Register a run with these predictions wrong."""
    table = predictions(wrong)
    write_table(PREDICTIONS, table)
    run_id = str(client.create_run(connect()[1]).info.run_id)
    client.log_artifact(run_id, str(PREDICTIONS), "evaluate")
    return register(client, run_id, f"runs:/{run_id}/cnn", table, level, {})


def champion_version(client: MlflowClient) -> int:
    return int(client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION).version)


@given(challenger=st.sets(st.integers(0, 199), max_size=30), champion=st.sets(st.integers(0, 199)))
def test_mcnemars_p_is_the_tail_of_a_binomial_distribution(
    challenger: set[int], champion: set[int]
) -> None:
    result = compare(predictions(challenger), predictions(champion))
    b, c = len(champion - challenger), len(challenger - champion)
    assert (result.challenger_only, result.champion_only) == (b, c)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert result.p_value == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_predictions_of_other_test_images_are_not_compared() -> None:
    with pytest.raises(UserError, match="evaluated on other test images"):
        compare(predictions([]), predictions([], labels=LABELS[1:]))


@pytest.mark.parametrize(
    ("wrong", "winner", "reason"),
    [
        (range(40), 2, " Not champion: not significantly better than version 2"),
        ([], 1, " Champion: significantly better than version 2"),
    ],
)
def test_of_two_simultaneous_first_models_the_later_is_compared_with_the_earlier(
    client: MlflowClient, wrong: Sequence[int], winner: int, reason: str
) -> None:
    others: list[str] = []

    def register_another(*arguments: Any) -> None:
        if "INSERT INTO registered_model_aliases" in arguments[2] and not others:
            others.append("")
            others[0] = challenge(client, range(20))

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", register_another)
    try:
        outcome = challenge(client, wrong)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", register_another)
    assert " Champion: there was none before." in others[0]
    assert reason in outcome
    assert champion_version(client) == winner


def test_the_first_model_is_champion(client: MlflowClient) -> None:
    outcome = challenge(client, wrong=[1, 2])
    assert outcome == (
        f"{REGISTERED_MODEL} version 1: Test accuracy 99.00%. Champion: there was none before."
    )
    assert champion_version(client) == 1


def test_an_interrupted_registration_is_completed_by_the_next(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(client, wrong=range(20))
    with monkeypatch.context() as patch:
        patch.setattr(client, "get_model_version_by_alias", fails)
        with pytest.raises(MlflowException, match="timed out"):
            challenge(client, wrong=range(5))
    assert champion_version(client) == 1
    run_id = str(client.get_model_version(REGISTERED_MODEL, "2").run_id)
    outcome = register(client, run_id, f"runs:/{run_id}/cnn", predictions(range(5)), 0.05, {})
    assert "Champion: significantly better" in outcome
    assert champion_version(client) == 2
    assert len(client.search_model_versions(f"name = '{REGISTERED_MODEL}'")) == 2


def test_a_champion_of_meanwhile_is_compared_with_too(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(client, wrong=range(20))
    challenge(client, wrong=range(19))

    def compare_meanwhile(challenger: pd.DataFrame, champion: pd.DataFrame) -> registry.Comparison:
        client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, "2")
        return compare(challenger, champion)

    monkeypatch.setattr(registry, "compare", compare_meanwhile)
    assert "significantly better than version 2" in challenge(client, wrong=range(5))


def fails(*_: object) -> None:
    raise MlflowException("timed out")


def test_a_significantly_better_model_becomes_champion(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    outcome = challenge(client, wrong=range(5))
    assert champion_version(client) == 2
    assert (
        "Champion: significantly better than version 1 (correct on 15 images that it gets wrong, "
        "wrong on 0 that it gets right; McNemar's p = 6.1e-05, level 0.05)." in outcome
    )


def test_an_insignificantly_better_model_does_not(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    outcome = challenge(client, wrong=range(17))
    assert champion_version(client) == 1
    assert "Not champion: not significantly better than version 1" in outcome
    assert "McNemar's p = 0.25" in outcome


def test_a_champion_without_predictions_is_replaced(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    for number, damage in ((2, "label,prediction\n"), (3, None)):
        champion = client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
        (path,) = Path.cwd().glob(f"mlartifacts/{champion.run_id}/**/predictions.csv")
        path.unlink()
        if damage is not None:
            path.write_text(damage, encoding="utf-8")
        outcome = challenge(client, wrong=range(21))
        assert f"Champion: version {number - 1} cannot be compared (" in outcome
        assert champion_version(client) == number


def test_a_champion_of_other_test_images_is_replaced(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    champion = client.get_model_version(REGISTERED_MODEL, "1")
    (path,) = Path.cwd().glob(f"mlartifacts/{champion.run_id}/**/predictions.csv")
    write_table(path, predictions([], labels=LABELS[1:]))
    outcome = challenge(client, wrong=range(20))
    assert "cannot be compared (the champion was evaluated on other test images)" in outcome
    assert champion_version(client) == 2


def test_a_champion_that_cannot_be_loaded_is_replaced(
    client: MlflowClient, faults: dict[str, str]
) -> None:
    challenge(client, wrong=range(2))
    faults[str(client.get_model_version(REGISTERED_MODEL, "1").source)] = "no such artifact"
    outcome = challenge(client, wrong=range(50))
    assert "Champion: version 1 cannot be loaded (no such artifact)." in outcome
    assert champion_version(client) == 2


def test_a_lost_alias_is_set_again(client: MlflowClient) -> None:
    challenge(client, wrong=[1])
    client.delete_registered_model_alias(REGISTERED_MODEL, CHAMPION)
    (version,) = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    outcome = register(client, str(version.run_id), str(version.source), predictions([1]), 0.05, {})
    assert outcome == f"{REGISTERED_MODEL} version 1 is champion: there was none"
    assert champion_version(client) == 1


def test_a_significantly_worse_model_does_not(client: MlflowClient) -> None:
    challenge(client, wrong=range(5))
    challenge(client, wrong=range(50))
    assert champion_version(client) == 1


def test_a_run_is_registered_once(client: MlflowClient) -> None:
    challenge(client, wrong=[1])
    (version,) = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert register(client, str(version.run_id), "runs:/x/cnn", predictions([1]), 0.05, {}) == ""
    assert len(client.search_model_versions(f"name = '{REGISTERED_MODEL}'")) == 1


def test_promote_names_the_former_champion_and_rolls_back(client: MlflowClient) -> None:
    challenge(client, wrong=range(5))
    challenge(client, wrong=range(50))
    assert promote(2) == f"{REGISTERED_MODEL} version 2 is now champion, replacing version 1"
    assert champion_version(client) == 2
    assert "Promoted manually, replacing version 1." in str(
        client.get_model_version(REGISTERED_MODEL, "2").description
    )
    assert promote(1) == f"{REGISTERED_MODEL} version 1 is now champion, replacing version 2"
    assert promote(1) == f"{REGISTERED_MODEL} version 1 is already champion"


def test_a_version_that_cannot_be_loaded_is_not_promoted(
    client: MlflowClient, faults: dict[str, str]
) -> None:
    challenge(client, wrong=range(5))
    challenge(client, wrong=range(50))
    faults[str(client.get_model_version(REGISTERED_MODEL, "2").source)] = "no such artifact"
    with pytest.raises(UserError, match=r"^--version 2: the model cannot be loaded \(no such art"):
        promote(2)
    assert champion_version(client) == 1


def test_promoting_a_missing_version_lists_the_existing_ones(client: MlflowClient) -> None:
    challenge(client, wrong=[])
    with pytest.raises(UserError, match=r"^--version 7: mnist12k-cnn has the versions: 1$"):
        promote(7)
    assert registry.find_champion(client) is not None
