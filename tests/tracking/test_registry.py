import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from workspace import inside

from mnist12k.errors import UserError
from mnist12k.files import write_csv
from mnist12k.tracking import registry
from mnist12k.tracking.registry import CHAMPION, MODEL, PREDICTIONS, compare, promote, register
from mnist12k.tracking.store import connect

pytestmark = pytest.mark.slow
LABELS = [digit % 10 for digit in range(200)]


def write_predictions(path: Path, wrong: Sequence[int], labels: Sequence[int] = LABELS) -> None:
    rows = [
        (index, label, (label + 1) % 10 if index in wrong else label, 0.9)
        for index, label in enumerate(labels)
    ]
    write_csv(path, ["index", "label", "prediction", "probability"], rows)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MlflowClient]:
    with inside(tmp_path):
        client, _ = connect()
        yield client


def challenge(client: MlflowClient, wrong: Sequence[int], level: float = 0.05) -> str:
    """Register a run that reads all but these images right."""
    write_predictions(PREDICTIONS, wrong)
    run_id = str(client.create_run(connect()[1]).info.run_id)
    client.log_artifact(run_id, str(PREDICTIONS), "evaluate")
    return register(client, run_id, f"runs:/{run_id}/cnn", 1 - len(wrong) / 200, level)


def champion(client: MlflowClient) -> int:
    return int(client.get_model_version_by_alias(MODEL, CHAMPION).version)


@given(ours=st.sets(st.integers(0, 199), max_size=30), theirs=st.sets(st.integers(0, 199)))
def test_mcnemars_p_is_the_chance_of_so_uneven_a_toss(
    tmp_path_factory: pytest.TempPathFactory, ours: set[int], theirs: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    write_predictions(folder / "ours.csv", list(ours))
    write_predictions(folder / "theirs.csv", list(theirs))
    found = compare(folder / "ours.csv", folder / "theirs.csv")
    b, c = len(theirs - ours), len(ours - theirs)
    assert (found.challenger_only, found.champion_only) == (b, c)
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found.p_value == pytest.approx(min(1, 2 * tail), rel=1e-9)


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    write_predictions(tmp_path / "ours.csv", [])
    write_predictions(tmp_path / "theirs.csv", [], labels=LABELS[1:])
    with pytest.raises(UserError, match="measured on other test images"):
        compare(tmp_path / "ours.csv", tmp_path / "theirs.csv")


@pytest.mark.parametrize(
    ("wrong", "champion_then", "reason"),
    [(range(40), 2, " Not champion: not better"), ([], 1, " Champion: better than version 2")],
)
def test_of_two_first_models_in_the_same_moment_the_later_is_judged_by_the_earlier(
    client: MlflowClient, wrong: Sequence[int], champion_then: int, reason: str
) -> None:
    came: list[str] = []

    def another_comes_between(*given: Any) -> None:
        if "INSERT INTO registered_model_aliases" in given[2] and not came:
            came.append("")
            came[0] = challenge(client, range(20))
            write_predictions(PREDICTIONS, wrong)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", another_comes_between)
    try:
        told = challenge(client, wrong)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", another_comes_between)
    assert " Champion: there was none." in came[0]
    assert reason in told
    assert champion(client) == champion_then


def test_the_first_model_is_champion(client: MlflowClient) -> None:
    assert "Champion: there was none." in challenge(client, wrong=[1, 2])
    assert champion(client) == 1


def test_a_registration_broken_off_before_its_verdict_is_completed_by_the_next(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(client, wrong=range(20))
    with monkeypatch.context() as patch:
        patch.setattr(client, "get_model_version_by_alias", fails)
        with pytest.raises(MlflowException, match="timed out"):
            challenge(client, wrong=range(5))
    assert champion(client) == 1
    run_id = str(client.get_model_version(MODEL, "2").run_id)
    assert "Champion: better" in register(client, run_id, f"runs:/{run_id}/cnn", 0.975, 0.05)
    assert champion(client) == 2
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 2


def test_a_champion_that_comes_during_the_comparison_is_compared_with(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge(client, wrong=range(20))
    challenge(client, wrong=range(19))
    compare_for_true = registry.compare

    def while_another_wins(ours: Path, theirs: Path) -> registry.Comparison:
        client.set_registered_model_alias(MODEL, CHAMPION, "2")
        return compare_for_true(ours, theirs)

    monkeypatch.setattr(registry, "compare", while_another_wins)
    assert "better than version 2" in challenge(client, wrong=range(5))


def fails(*_: object) -> None:
    raise MlflowException("timed out")


def test_a_model_better_by_more_than_chance_becomes_champion(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    told = challenge(client, wrong=range(5))
    assert champion(client) == 2
    assert "Champion: better than version 1, right where the other is wrong on 15 images" in told


def test_a_model_better_by_luck_does_not(client: MlflowClient) -> None:
    challenge(client, wrong=range(20))
    told = challenge(client, wrong=range(17))
    assert champion(client) == 1
    assert "not better than version 1 by more than chance" in told
    assert "McNemar's p = 0.25" in told


def test_a_worse_model_does_not_however_sure_the_test_is(client: MlflowClient) -> None:
    challenge(client, wrong=range(5))
    challenge(client, wrong=range(50))
    assert champion(client) == 1


def test_a_run_is_registered_once(client: MlflowClient) -> None:
    challenge(client, wrong=[1])
    (version,) = client.search_model_versions(f"name = '{MODEL}'")
    assert register(client, str(version.run_id), "runs:/x/cnn", 0.9, 0.05) == ""
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_promoting_by_hand_says_who_lost_and_rolls_back_the_same_way(
    client: MlflowClient,
) -> None:
    challenge(client, wrong=range(5))
    challenge(client, wrong=range(50))
    assert promote(2) == f"{MODEL} version 2 is now champion over version 1"
    assert champion(client) == 2
    assert "by hand over version 1" in str(client.get_model_version(MODEL, "2").description)
    assert promote(1) == f"{MODEL} version 1 is now champion over version 2"
    assert promote(1) == f"{MODEL} version 1 is champion already"


def test_promoting_a_version_that_is_not_there_lists_those_that_are(client: MlflowClient) -> None:
    challenge(client, wrong=[])
    with pytest.raises(UserError, match=r"--version 7: .* no such version; there are 1$"):
        promote(7)
    assert registry.find_champion(client) is not None
