"""The commands in README.md and docs/ do what a reader who types them expects, page by page.

So do the parameters in docs/other-data.md.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from drawn_digits import photographed, sheet, twenty_pictures
from other_data import TEST, DataSet, write_data, write_params
from project import ROOT, Project, create_project, git
from ruamel.yaml import YAML
from servers import free_port
from tune_command import set_tune

from mnist12k.cli import mnist12k
from mnist12k.files import read_yaml
from mnist12k.photos import PREPARATION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the documents are for a POSIX shell"),
]
BLOCK = re.compile(
    r"^(<!-- not run [^\n]*-->\n)?```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL
)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The environment that runs the tests has everything, and nobody is there to press Ctrl-C.
REPLACED = {
    "make install": ":",
    ". .venv/bin/activate": ":",
    "pip install '.[export]'": ":",
    "make tune": "mnist12k tune",
    "make ui": "timeout 60 mnist12k ui || test $? -eq 124",
    "optuna-dashboard optuna.journal": (
        f"timeout 60 optuna-dashboard optuna.journal --port {free_port()} || test $? -eq 124"
    ),
}
# What a page's commands print at least.
PRINTED = {
    "README.md": ["train.network", "backprop.preset"],
    "compare-runs.md": ["more-dropout", "MLflow is up to date"],
    "networks.md": ["on cpu"],
    "search.md": ["difference ", "diff --git a/params.yaml", "http://127.0.0.1:"],
    "serve.md": ["7-drawn", "predictions", "cnn.onnx"],
    "share-results.md": ["is complete", "Runs: http://127.0.0.1:"],
}


def commands(page: Path) -> str:
    """Return the page's commands as one script."""
    parts = []
    for left_out, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if not left_out:
            parts.append(f"python - <<'END'\n{code}END\n" if language == "python" else code)
    return "".join(parts)


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_page_with_commands_is_known() -> None:
    assert {path.name for path in PAGES if commands(path)} == set(PRINTED)


@pytest.mark.long
@pytest.mark.parametrize("page", [path for path in PAGES if commands(path)], ids=lambda p: p.name)
def test_the_commands_of_a_page_work_in_their_order(
    page: Path, project: Project, tmp_path: Path
) -> None:
    project.git("branch", "-M", "main")
    git(tmp_path, "clone", "-q", "--bare", str(project.root), "server.git")
    project.git("remote", "add", "origin", str(tmp_path / "server.git"))
    project.git("push", "-qu", "origin", "main")
    (project.root / "scans").mkdir()
    pictures = twenty_pictures(project.root / "scans")
    photo = next(name for name in pictures if name.endswith(".jpg"))
    (project.root / "scans" / photo).rename(project.root / "photo.jpg")
    ink = sheet([[4, 2], [7, 1]], np.random.default_rng(1))
    photographed(ink, np.random.default_rng(1)).save(project.root / "sheet.png")
    set_tune(project.root, trials=2, finalists=1, finalist_budget=8, workers=1, pruner="none")
    script = commands(page)
    places = {"/srv/mnist12k": tmp_path / "storage", "ADDRESS": tmp_path / "server.git"}
    for text, replacement in (REPLACED | places).items():
        script = script.replace(text, str(replacement))
    project.variables |= {"GIT_COMMITTER_NAME": "t", "EMAIL": "t@t", "COLUMNS": "100"}
    output = project.run("bash", "-euo", "pipefail", "-c", script)
    assert [text for text in PRINTED[page.name] if text not in output] == []


@pytest.mark.long
@pytest.mark.parametrize(("name", "first_label"), [("Fashion-MNIST", 0), ("EMNIST letters", 1)])
def test_the_parameters_of_another_data_set_run_the_pipeline(
    name: str, first_label: int, idx_folder: Path, idx_sha256: Mapping[str, str], tmp_path: Path
) -> None:
    page = (ROOT / "docs/other-data.md").read_text(encoding="utf-8")
    blocks = [YAML(typ="safe").load(block) for block in YAML_BLOCK.findall(page)]
    shown = {block["fetch"]["name"]: block for block in blocks}
    assert set(shown) == {"Fashion-MNIST", "EMNIST letters"}
    fetch = shown[name]["fetch"]
    project = create_project(tmp_path / "project", idx_folder, idx_sha256)
    params = read_yaml(project.root / "params.yaml")
    for section, values in shown[name].items():
        assert values.keys() <= params[section].keys()
        params[section] |= values
    write_params(project.root / "params.yaml", params)
    data = DataSet(name, fetch["side"], fetch["classes"], first_label)
    write_data(project.root / fetch["source"], data)
    assert f"{name} from folder {fetch['source'].rstrip('/')}" in project.run("dvc", "repro")
    classes = project.table("reports/evaluate/classes.csv")
    assert classes["class"].tolist() == fetch["classes"]
    assert classes["images"].sum() == TEST


def test_the_preparation_of_pictures_is_described_in_the_same_words_everywhere() -> None:
    finding, _, scaling = PREPARATION.partition(". ")
    page = ROOT / "src/mnist12k/report/page/files/draw.html.j2"
    texts = {
        "serve.md": (ROOT / "docs/serve.md").read_text(encoding="utf-8"),
        "predict --help": mnist12k.commands["predict"].help or "",
        "page": page.read_text(encoding="utf-8"),
    }
    words = {name: " ".join(text.split()) for name, text in texts.items()}
    assert [name for name, text in words.items() if scaling not in text] == []
    assert [name for name, text in words.items() if finding not in text] == ["page"]
