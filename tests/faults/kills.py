"""Kill a command at a random moment, run it again, and compare with a run that was left alone."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from project import SMALL_SEEDS, Project
from tune_command import alive, set_tune

from faults.case import Case, NotRunError, assert_no_traceback, generator
from faults.templates import Templates, can_signal_groups
from mnist12k.files import read_json
from mnist12k.outputs import TRAIN_RESULT, TrainResult
from mnist12k.tracking.registry import CHAMPION, REGISTERED_MODEL
from mnist12k.tracking.runs import FINGERPRINT

REPRO = ("make", "-o", ".venv/.installed", "repro")  # -o: it is installed
SMALL_SEARCH = {"trials": 3, "finalists": 1, "finalist_budget": 8, "workers": 1, "pruner": "none"}
# Seconds, dates, names of searches, and numbers of trials, which a repeated trial shifts.
CHANGING = {"seconds", "seconds_mean", "started", "trial", "challenger_trial", "search"}
# Folders whose files are named by digests, processes or at random.
ELSEWHERE = (
    *(".git", ".dvc", "mlartifacts", "__pycache__"),
    *("checkpoints/outputs", "checkpoints/running"),
)
TRIES = 5  # until a command is killed before its end
TERMINATION = 30  # seconds

Results = dict[str, Any]


class Scenario(NamedTuple):
    """A command, the project that it starts from, and the files that must have the same bits."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Templates, Path], Project]
    results: tuple[str, ...]  # glob patterns


class Reference(NamedTuple):
    """What a run that was left alone has led to, and the seconds that it took."""

    seconds: float
    results: Results
    files: set[str]
    problems: set[str]


def changed_project(templates: Templates, root: Path) -> Project:
    project = templates.finished_project(root)
    project.edit("seed: 1\n", "seed: 2\n")
    project.edit("iterations: 20", "iterations: 21")
    return project


def unpublished_project(templates: Templates, root: Path) -> Project:
    project = templates.finished_project(root)
    (project.root / "mlflow.db").unlink()
    return project


def search_project(templates: Templates, root: Path) -> Project:
    project = templates.finished_project(root)
    set_tune(project.root, **SMALL_SEARCH)
    return project


def seeds_project(templates: Templates, root: Path) -> Project:
    project = templates.finished_project(root)
    project.edit(*SMALL_SEEDS)
    return project


PIPELINE = (
    *("models/*", "reports/train/*", "reports/backprop/*.csv", "reports/backprop/*.json"),
    *("reports/backprop/*.png", "reports/evaluate/*"),
)
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("make repro, for the first time", REPRO, Templates.new_project, PIPELINE),
        Scenario("make repro, after a change", REPRO, changed_project, PIPELINE),
        Scenario("mnist12k publish", ("mnist12k", "publish"), unpublished_project, PIPELINE),
        Scenario(
            "mnist12k tune",
            ("mnist12k", "tune"),
            search_project,
            ("reports/tune/*.csv", "reports/tune/*.json", "reports/tune/best_params.yaml"),
        ),
        Scenario(
            "mnist12k seeds",
            ("mnist12k", "seeds"),
            seeds_project,
            ("reports/seeds/*.csv", "reports/seeds/*.json"),
        ),
    )
}


class Kills:
    """The cases of this part; a scenario's reference is made when its first case needs it."""

    def __init__(self, templates: Templates, folder: Path) -> None:
        self.templates = templates
        self.folder = folder
        self.references: dict[str, Reference] = {}
        self.locks = {name: Lock() for name in SCENARIOS}

    def cases(self, seed: int, counts: Mapping[str, int]) -> Iterator[Case]:
        """Yield this many cases per scenario: mostly one SIGKILL; some SIGTERM, some two kills."""
        for name, count in counts.items():
            for number in range(count):
                stop = signal.SIGTERM if number % 4 == 3 else signal.SIGKILL
                times = 2 if number % 4 == 2 else 1
                label = f"{name}: kill {number + 1}, {times} x {stop.name}"
                check = partial(self.check, SCENARIOS[name], stop, times, f"{seed} {label}")
                yield Case(f"killed: {name}", label, check, processes=True)

    def reference(self, scenario: Scenario) -> Reference:
        """Run a scenario's command undisturbed, once."""
        with self.locks[scenario.name]:
            if scenario.name not in self.references:
                root = self.folder / re.sub(r"\W+", "-", scenario.name)
                project = scenario.prepare(self.templates, root)
                started = time.perf_counter()
                project.run(*scenario.command)
                seconds = time.perf_counter() - started
                self.references[scenario.name] = Reference(
                    seconds, read_results(project, scenario), files(project), problems(project)
                )
            return self.references[scenario.name]

    def check(
        self, scenario: Scenario, stop: signal.Signals, times: int, seed: str, folder: Path
    ) -> None:
        """Kill the command, run it again, and compare everything."""
        if not can_signal_groups():
            raise NotRunError("Windows has no signal for a group of processes")
        reference, draw = self.reference(scenario), generator(seed)
        for number in range(TRIES):
            project = scenario.prepare(self.templates, folder / str(number))
            moments = [draw.uniform(0, reference.seconds) for _ in range(times)]
            # A second kill may come after the end of what the first one has left to do.
            killed = [kill(project, scenario.command, moment, stop) for moment in moments]
            if killed[0]:
                break
        else:
            raise NotRunError(f"it ended before {TRIES} kills")
        when = " and ".join(f"{moment:.2f} s" for moment in moments)
        try:
            output = project.run(*scenario.command)
            assert_no_traceback(output)
            assert_as_good(project, scenario, reference)
        except AssertionError as error:
            text = f"{stop.name} after {when} of {reference.seconds:.1f} s: {error}"
            raise AssertionError(text) from error


def kill(project: Project, command: tuple[str, ...], moment: float, stop: signal.Signals) -> bool:
    """Send a signal to a command and all that it has started; return False if it ended before."""
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERMINATION)
            left = alive(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            assert not left, f"{len(left)} processes outlive {stop.name} by {TERMINATION} s"
            return True
    return False


def assert_as_good(project: Project, scenario: Scenario, reference: Reference) -> None:
    """Compare files, runs and models with those of a run that was left alone."""
    results = read_results(project, scenario)
    different = [
        name
        for name in sorted(results.keys() | reference.results.keys())
        if results.get(name) != reference.results.get(name)
    ]
    assert different == [], f"missing or different: {', '.join(different)}"
    found = files(project)
    assert found == reference.files, (
        f"left over: {sorted(found - reference.files)}, missing: {sorted(reference.files - found)}"
    )
    temporary = [str(path.relative_to(project.root)) for path in project.root.rglob(".tmp-*")]
    assert temporary == [], f"temporary files: {temporary}"
    new = problems(project) - reference.problems
    assert new == set(), f"mnist12k doctor: {sorted(new)}"
    assert_runs(project)
    if scenario.results == PIPELINE:
        assert_one_complete_run(project)


def assert_runs(project: Project) -> None:
    """Check that no run is left open, and that no training, study or trial has two."""
    client = project.client()
    experiment = client.get_experiment_by_name("mnist12k")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    running = [run.info.run_name for run in runs if run.info.status == "RUNNING"]
    assert running == [], f"open runs: {running}"
    tops = [run for run in runs if MLFLOW_PARENT_RUN_ID not in run.data.tags]
    counts = Counter(run.data.tags.get(FINGERPRINT) for run in tops)
    assert set(counts.values()) == {1}, f"runs by fingerprint: {dict(counts)}"
    assert {run.info.status for run in tops} == {"FINISHED"}
    children = Counter(
        (run.data.tags[MLFLOW_PARENT_RUN_ID], run.info.run_name) for run in runs if run not in tops
    )
    twice = [name for (_, name), count in children.items() if count > 1]
    assert twice == [], f"child runs that are there twice: {twice}"


def assert_one_complete_run(project: Project) -> None:
    """Check the run of the training in the workspace: its epochs, artifacts, model and version."""
    fingerprint = read_json(project.root / TRAIN_RESULT, TrainResult).fingerprint
    (run,) = [run for run in project.runs() if run.data.tags[FINGERPRINT] == fingerprint]
    client, run_id = project.client(), run.info.run_id
    assert run.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(run_id, "train/loss")]
    assert sorted(steps) == [1, 2], f"epochs {steps}"
    assert "test/accuracy" in run.data.metrics
    root = Path(run.info.artifact_uri.removeprefix("file://"))
    logged = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("train", "evaluate")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }
    reports = {
        f"{folder}/{path.name}": path.read_bytes()
        for folder in ("train", "evaluate")
        for path in (project.root / "reports" / folder).iterdir()
        if f"{folder}/{path.name}" not in ("train/metrics.json", "train/.gitignore")
    }
    wrong = [name for name in logged.keys() | reports if logged.get(name) != reports.get(name)]
    assert wrong == [], f"artifacts that are missing or different: {sorted(wrong)}"
    models = client.search_logged_models([run.info.experiment_id])
    ready = [model for model in models if model.source_run_id == run_id]
    assert [str(model.status) for model in ready] == ["READY"], "not exactly one model is ready"
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    mine = [version for version in versions if version.run_id == run_id]
    assert len(mine) == 1, f"{len(mine)} versions of the model"
    assert mine[0].description, "the version has no description"
    assert client.get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)


def read_results(project: Project, scenario: Scenario) -> Results:
    """Return the scenario's files without what changes from run to run."""
    paths = sorted(path for pattern in scenario.results for path in project.root.glob(pattern))
    return {path.relative_to(project.root).as_posix(): _reproducible(path) for path in paths}


def _reproducible(path: Path) -> Any:
    if path.suffix == ".csv":
        table = pd.read_csv(StringIO(path.read_text(encoding="utf-8")), dtype=str)
        rows = table.drop(columns=[name for name in table if name in CHANGING])
        return sorted(rows.fillna("").itertuples(index=False, name=None)), list(rows)
    if path.suffix == ".json":
        return _without_changing(read_json(path, dict[str, Any]))
    return path.read_bytes()


def _without_changing(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {
        name: _without_changing(value) for name, value in content.items() if name not in CHANGING
    }


def files(project: Project) -> set[str]:
    """Return the paths of all files but those that are named differently in every run."""
    names = {
        path.relative_to(project.root).as_posix()
        for path in project.root.rglob("*")
        if path.is_file()
    }
    return {name for name in names if not any(f"/{part}/" in f"/{name}" for part in ELSEWHERE)}


def problems(project: Project) -> set[str]:
    """Return what `mnist12k doctor` would have fixed."""
    done = subprocess.run(
        ["mnist12k", "doctor"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_no_traceback(done.stdout + done.stderr)
    assert done.returncode in (0, 2), done.stderr
    return {line for line in done.stdout.splitlines() if line.startswith("fix")}
