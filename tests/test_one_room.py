"""Only `cnn/`, the data and a training's own settings can make a training stale."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from project import Project, create_project

pytestmark = [pytest.mark.slow, pytest.mark.long]

PACKAGE = Path("src/mnist12k")
OUTSIDE = [
    *("cli.py", "doctor.py", "errors.py", "files.py", "fingerprint.py", "outputs.py"),
    *("params.py", "paths.py", "processes.py"),
    *("backprop", "export", "photos", "report", "search", "tracking"),
]
# Prints what identifies the training: its fingerprint, which is also its checkpoint's folder.
FINGERPRINT = """
from mnist12k.fingerprint import training_fingerprint
from mnist12k.params import load_params
print(training_fingerprint(load_params().train))
"""


@pytest.fixture
def trained(tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]) -> Project:
    project = create_project(tmp_path / "project", idx_folder, idx_sha256)
    project.edit("epochs: 2", "epochs: 1")
    project.run("dvc", "repro", "train")
    return project


def state(project: Project) -> tuple[str, str]:
    """Return what DVC says of the training, and its fingerprint."""
    status = project.run("dvc", "status", "--json", "train").splitlines()[-1]
    return status, project.run(sys.executable, "-c", FINGERPRINT)


def comment(file: Path) -> None:
    prefix = {".css": "/* a comment */", ".j2": "{# a comment #}", ".js": "// a comment"}
    with file.open("a", encoding="utf-8") as source:
        source.write(prefix.get(file.suffix, "# a comment") + "\n")


def test_a_change_outside_the_room_leaves_a_training_up_to_date(trained: Project) -> None:
    before = state(trained)
    assert before[0] == "{}"
    metrics = json.loads((trained.root / "reports/train/result.json").read_text("utf-8"))
    assert metrics["fingerprint"] == before[1].strip()
    for name in OUTSIDE:
        path = trained.root / PACKAGE / name
        for file in path.rglob("*.*") if path.is_dir() else [path]:
            if "__pycache__" not in file.parts:
                comment(file)
    trained.edit("  fast:\n    epochs: 3", "  fast:\n    epochs: 4")
    trained.edit(
        "recipes:\n",
        "recipes:\n  short:\n    epochs: 1\n    batch_size: 64\n"
        "    learning_rate: 0.1\n    momentum: 0.9\n    schedule: linear\n",
    )
    trained.edit(
        "networks:\n",
        "networks:\n  small:\n    blocks: [{channels: 2}]\n    head: {kind: average}\n",
    )
    assert state(trained) == before
    trained.edit("evaluate:\n", "another:\n  section: 1\n\nevaluate:\n")
    assert trained.run("dvc", "status", "--json", "train").splitlines()[-1] == "{}"


@pytest.mark.parametrize("file", ["cnn/schedules.py", "cnn/settings.py", "stages/train.py"])
def test_a_change_inside_the_room_makes_a_training_stale(trained: Project, file: str) -> None:
    before = state(trained)
    comment(trained.root / PACKAGE / file)
    after = state(trained)
    assert "src/mnist12k" in after[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("    ema_decay: 0.998", "    ema_decay: 0.997", "recipes.best"),
        ("    - {channels: 32}", "    - {channels: 31}", "networks.reference"),
    ],
)
def test_a_change_to_its_own_recipe_or_network_makes_a_training_stale(
    trained: Project, old: str, new: str, key: str
) -> None:
    before = state(trained)
    trained.edit(old, new)
    after = state(trained)
    assert key in after[0]
    assert after[1] != before[1]


def test_compiled_files_do_not_count(trained: Project) -> None:
    before = state(trained)
    folder = trained.root / PACKAGE / "cnn/__pycache__"
    folder.mkdir(exist_ok=True)
    (folder / "anything.pyc").write_bytes(b"compiled")
    assert state(trained) == before


def test_the_fingerprint_is_that_of_the_code_as_dvc_digests_it(trained: Project) -> None:
    code = (
        "from pathlib import Path; from mnist12k.fingerprint import folder_md5;"
        "print(folder_md5(Path('src/mnist12k/cnn')))"
    )
    digest = trained.run(sys.executable, "-c", code).strip()
    assert digest in (trained.root / "dvc.lock").read_text(encoding="utf-8")
