"""Any file under reports/ may be damaged: every command that reads it says so in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.damage import DAMAGES, OPTIONAL, REQUIRED, garbled, truncated
from faults.templates import copy_complete
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from project import ROOT
from workspace import inside

from mnist12k.cli import main
from mnist12k.errors import UserError
from mnist12k.outputs import RESULTS
from mnist12k.params import load_params
from mnist12k.paths import BEST_PARAMS, PARAMS
from mnist12k.stages.seeds import IDENTITIES, earlier_results

pytestmark = pytest.mark.slow

CASES = [
    (command, file, code)
    for files, code in ((REQUIRED, 2), (OPTIONAL, 0))
    for command, names in files.items()
    for file in names
]


@pytest.fixture(scope="module")
def complete(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small training with the results of every study beside it."""
    return copy_complete(trained_template, tmp_path_factory.mktemp("damage") / "workspace")


@pytest.mark.parametrize(("command", "file", "code"), CASES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.sampled_from([*DAMAGES.values()]), fraction=st.floats(0, 1))
def test_a_damaged_report_is_named_by_every_command_that_reads_it(
    complete: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    file: str,
    code: int,
    damage: Callable[[bytes, float], bytes],
    fraction: float,
) -> None:
    path = complete / "reports" / file
    content = path.read_bytes()
    with inside(complete):
        path.write_bytes(damage(content, fraction))
        try:
            assert main([command]) == code
        finally:
            path.write_bytes(content)
    lines = capsys.readouterr().err.splitlines()
    named = [line for line in lines if f"reports/{file}" in line]
    assert len(named) == 1, lines
    assert named[0].startswith("mnist12k: error: " if code else "mnist12k: warning: ")


@pytest.mark.parametrize("command", REQUIRED)
def test_a_missing_report_is_named_with_the_command_that_writes_it(
    complete: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for file in REQUIRED[command]:
        if (command, file) == ("publish", "evaluate/result.json"):
            continue  # not evaluated yet: the training alone is published
        path = complete / "reports" / file
        aside = path.rename(path.with_suffix(".aside"))
        with inside(complete):
            assert main([command]) == 2
        aside.rename(path)
        (line,) = capsys.readouterr().err.splitlines()
        assert f"reports/{file} is missing; `mnist12k {path.parent.name}` writes it" in line


@pytest.mark.parametrize("file", [RESULTS, IDENTITIES])
@given(damage=st.sampled_from([truncated, garbled, DAMAGES["empty"]]), fraction=st.floats(0, 0.9))
def test_damaged_results_of_the_seeds_study_are_never_trained_over(
    complete: Path, file: Path, damage: Callable[[bytes, float], bytes], fraction: float
) -> None:
    with inside(complete):
        params = load_params(ROOT / "params.yaml")
        content = file.read_bytes()
        left = damage(content, fraction)
        assume(not left.endswith(b"\n"))  # whole lines are the results of an interrupted study
        file.write_bytes(left)
        try:
            with pytest.raises(UserError, match=str(file)):
                earlier_results([params.training(*pair) for pair in params.seeds.pairs()])
        finally:
            file.write_bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"- 1\n", b"{}\n", b"train: 1\n", b"train: {recipe: fast, seed: 1, x: 2}\n"),
        b"\xff",
        b"train:\n  recipe: fast\n  seed: 1\n",  # a part of it
        b"train:\n  recipe: fast\n  seed: 1\n...\n",  # without its verdict
    ],
)
def test_a_damaged_winner_is_named_and_not_applied(
    complete: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    winner, params = complete / BEST_PARAMS, complete / PARAMS
    before, text = winner.read_bytes(), params.read_bytes()
    winner.write_bytes(content)
    with inside(complete):
        assert main(["tune", "--apply"]) == 2
    winner.write_bytes(before)
    assert str(BEST_PARAMS) in capsys.readouterr().err
    assert params.read_bytes() == text
