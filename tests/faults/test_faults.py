"""A few cases of the campaign in tests/faults/campaign.py, which `make faults` runs in full."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from project import Project

from faults import damage, disk, kills, params
from faults.campaign import FAILED, SEED, SMALL, run_case
from faults.case import Case
from faults.templates import Templates

pytestmark = [pytest.mark.slow, pytest.mark.long]

KILLED = [name for name in kills.SCENARIOS if name != "make repro, for the first time"]  # slow


@pytest.fixture(scope="module")
def templates(idx_folder: Path, trained_template: Path, project_template: Project) -> Templates:
    return Templates(idx_folder, trained_template, project_template)


def assert_all_pass(cases: Iterable[Case], folder: Path) -> None:
    results = [run_case(case, folder / str(number)) for number, case in enumerate(cases)]
    assert results
    failed = [f"{each.name}: {each.detail}" for each in results if each.result == FAILED]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("scenario", KILLED)
def test_a_killed_command_run_again_ends_as_if_it_had_not_been_killed(
    templates: Templates, tmp_path: Path, scenario: str
) -> None:
    cases = kills.Kills(templates, tmp_path).cases(SEED, {scenario: 1})
    assert_all_pass(cases, tmp_path / "cases")


def test_a_wrong_params_file_is_one_line_at_once(templates: Templates, tmp_path: Path) -> None:
    cases = [*params.cases(templates, tmp_path, SEED, SMALL.values)]
    assert len(cases) > 150
    assert_all_pass(cases[::3], tmp_path / "cases")


def test_a_damaged_file_is_named_or_repaired(templates: Templates, tmp_path: Path) -> None:
    cases = [*damage.cases(templates, tmp_path, SEED, SMALL.damages)]
    assert_all_pass([case for case in cases if not case.processes][::2], tmp_path / "cases")


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_full_disk_is_one_line_and_keeps_the_earlier_results(
    templates: Templates, tmp_path: Path, command: str
) -> None:
    cases = [case for case in disk.cases(templates, SEED, 1) if f" {command} " in case.name]
    assert_all_pass(cases, tmp_path / "cases")
