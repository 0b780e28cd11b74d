"""Two users of one machine: what one may do in the other's project, and how to get a copy of it."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn_digits import twenty_pictures
from project import ROOT, Project
from servers import get, started

OTHER = 60_001  # a user without a name, who does not own the project; its owner is one before
READER = (  # root's capability to read lets the user run a Python that only root may read
    *("setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"),
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="only root can act as another user, by util-linux's setpriv",
    ),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's, with a home for the other user."""
    with tempfile.TemporaryDirectory(prefix="mnist12k-users-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        os.chown(folder / "home", OTHER, OTHER)
        yield folder


@pytest.fixture(scope="module")
def theirs(project_template: Project, place: Path) -> Project:
    """A project after `dvc repro` that belongs to somebody else."""
    project = project_template.copy_to(place / "mnist12k")
    for path in (project.root, *project.root.rglob("*")):
        os.chown(path, OTHER - 1, OTHER - 1, follow_symlinks=False)
    home = str(place / "home")
    project.variables |= {"HOME": home, "USER": "bob", "PYTHONDONTWRITEBYTECODE": "1"}
    return project


def test_every_file_of_a_project_can_be_read_by_others(theirs: Project) -> None:
    paths = [path for path in theirs.root.rglob("*") if not path.is_symlink()]
    private = [path for path in paths if not path.stat().st_mode & 0o004]
    assert private == []


def test_another_users_project_can_be_looked_at_and_its_model_used(
    theirs: Project, place: Path
) -> None:
    (name, *_) = twenty_pictures(place / "home")
    picture = str(place / "home" / name)
    before = {path: path.stat().st_mtime_ns for path in theirs.root.rglob("*")}
    for model in ("models/cnn.pt", "models:/mnist12k-cnn@champion"):
        output = theirs.run(*READER, "mnist12k", "predict", "--model", model, picture)
        assert output.startswith(f"{picture}: ")
    command = ("env", f"--chdir={theirs.root}", *READER, "mnist12k", "ui")
    with started(*command, folder=place, **theirs.variables) as server:
        found = server.wait_for(lambda: re.search(r"Runs: (\S+)/#", server.output())).group(1)
        shown = get(f"{found}/api/2.0/mlflow/experiments/get-by-name?experiment_name=mnist12k")
        assert '"name": "mnist12k"' in str(shown)
    assert {path: path.stat().st_mtime_ns for path in theirs.root.rglob("*")} == before


@pytest.mark.parametrize("command", ["backprop", "train", "evaluate", "report", "tune", "publish"])
def test_what_would_write_into_another_users_project_says_so_in_one_line(
    theirs: Project, command: str
) -> None:
    output = theirs.run(*READER, "mnist12k", command, code=2)
    (line,) = [line for line in output.splitlines() if "warning: the git commit" not in line]
    assert re.search(r"(reports|checkpoints|optuna\.journal)\S*:? .*Permission denied", line)
    assert command == "tune" or f"belongs to user {OTHER - 1}: work in a clone of your own" in line


def test_doctor_tells_to_clone_another_users_project(theirs: Project) -> None:
    output = theirs.run(*READER, "mnist12k", "doctor", code=2)
    assert (
        f"fix   this project belongs to user {OTHER - 1}, and DVC works only in your own: "
        "work in a clone of your own, docs/share-results.md\n"
    ) in output
    assert re.search(r"fix   DVC: ERROR: .*Permission denied: '\S+/\.dvc/tmp/lock'", output)
    assert "Traceback" not in output


def test_a_clone_pulls_from_another_users_cache_as_the_page_says(
    theirs: Project, place: Path
) -> None:
    page = (ROOT / "docs/share-results.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"needs a second user -->\n```sh\n(.*?)```", page, re.DOTALL)
    script = commands.replace("~ann/mnist12k", str(theirs.root))
    assert script.count(str(theirs.root)) == 3
    home = place / "home"
    mine = Project(home / "mnist12k")
    mine.variables = theirs.variables
    output = mine.run(*READER, "bash", "-euc", script, cwd=home)
    assert "is complete" in output
    assert mine.run(*READER, "dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"
    assert "belongs to" not in mine.run(*READER, "mnist12k", "doctor")
