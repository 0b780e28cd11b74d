"""The files for GitHub and for development containers, which run where no test can see them."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from project import ROOT
from ruamel.yaml import YAML

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SUMMARY = runpy.run_path(str(ROOT / ".github/summary.py"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = YAML(typ="safe").load(workflow)["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_targets_that_the_makefile_has(workflow: Path) -> None:
    commands = " ".join(step["run"] for step in steps(workflow) if "run" in step)
    called = re.findall(r"make (?:--silent )?([a-z]+)", commands)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert called
    assert set(called) <= set(targets)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_cache_by_files_that_exist(workflow: Path) -> None:
    keys = [step["with"]["key"] for step in steps(workflow) if "cache" in step.get("uses", "")]
    patterns = re.findall(r"hashFiles\('([^']+)'\)", " ".join(keys))
    assert patterns
    assert all(list(ROOT.glob(pattern)) for pattern in patterns)


def test_the_container_prepares_the_environment_that_its_editor_uses() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text("utf-8"))
    settings = container["customizations"]["vscode"]["settings"]
    assert {Path(value).parts[1] for value in settings.values()} == {".venv"}
    assert container["postCreateCommand"] == "make .venv/.testable"


@pytest.mark.slow
def test_a_pull_requests_summary_has_metrics_parameters_and_curves() -> None:
    done = subprocess.run(
        [sys.executable, ".github/summary.py", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    parts = done.stdout.split("## ")
    assert [part.split("\n")[0] for part in parts[1:]] == ["Metrics", "Parameters", "Curves"]
    history = pd.read_csv(ROOT / "reports/train/history.csv")
    lines = [line.count(",") + 1 for line in re.findall(r"line \[(.*)\]", parts[-1])]
    assert lines == [len(history)] * 4


def test_a_summary_without_a_hold_out_set_has_only_the_training_curve() -> None:
    history = pd.DataFrame({"train_loss": [0.3, 0.1], "validation_loss": [None, None]})
    chart = SUMMARY["chart"]("loss", history, ["train_loss", "validation_loss"])
    assert chart.startswith("Train loss:")
    assert "line [0.30000, 0.10000]" in chart
    assert chart.count("line [") == 1
