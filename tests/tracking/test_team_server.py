import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from project import ROOT, create_project
from team_server import USERS, TeamServer, find_postgresql, postgresql
from workspace import inside, make_workspace

from mnist12k import cli
from mnist12k.cnn.model_file import load_network
from mnist12k.doctor import check_store
from mnist12k.outputs import read_evaluate_result, read_history, read_train_result
from mnist12k.params import load_params
from mnist12k.stages import evaluate, train
from mnist12k.tracking.publish import PUBLISHED, publish
from mnist12k.tracking.registry import CHAMPION, REGISTERED_MODEL
from mnist12k.tracking.runs import EPOCH_METRICS, find_runs, live_run
from mnist12k.tracking.store import connect

PROGRAMS = find_postgresql()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed"),
    # torch.export's reader warns of a read-only buffer, but does not write to it.
    pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning"),
]
ANN, BOB = USERS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    """A server with the users Ann and Bob, and without any run."""
    assert PROGRAMS is not None
    with postgresql(PROGRAMS) as database:
        server = TeamServer(tmp_path_factory.mktemp("server"), database)
        server.start()
        try:
            server.create_users()
            yield server
        finally:
            server.kill()


def workspace(folder: Path, idx_folder: Path, seed: int, epochs: int = 2) -> Path:
    """Create a workspace with its own seed, so that its training has its own fingerprint."""
    folder.mkdir(exist_ok=True)
    make_workspace(folder, idx_folder)
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("seed: 1\n", f"seed: {seed}\n", 1)
    text = text.replace("epochs: 2\n", f"epochs: {epochs}\n", 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def working_in(folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    with inside(folder), pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def start(folder: Path, variables: dict[str, str], *commands: str) -> subprocess.Popen[str]:
    """Start a process that runs these commands one after the other."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    # One thread each, since four of them run on the same cores.
    inherited |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    program = f"from mnist12k.cli import main; print([main([name]) for name in {commands!r}])"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        cwd=folder,
        env=inherited | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def warnings_in(output: str) -> Sequence[str]:
    return [line for line in output.splitlines() if "warning" in line]


def runs_of_training() -> list[Run]:
    """Return the runs of the training in the current folder."""
    return find_runs(*connect(), read_train_result().fingerprint)


def versions_of(run: Run) -> list[ModelVersion]:
    versions = connect()[0].search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return [version for version in versions if version.run_id == run.info.run_id]


def assert_complete() -> Run:
    """Compare everything that the server has of the training in the current folder with files."""
    client, _ = connect()
    (run,) = runs_of_training()
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    history = read_history(read_train_result())
    for column, name in EPOCH_METRICS.items():
        points = client.get_metric_history(run.info.run_id, name)
        logged = sorted((point.step, point.value) for point in points)
        assert logged == list(zip(history["epoch"], history[column], strict=True))
    assert run.data.metrics["test/accuracy"] == read_evaluate_result().test_accuracy
    for stage in ("train", "evaluate"):
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id, stage)}
        files = {f"{stage}/{path.name}" for path in Path("reports", stage).iterdir()}
        assert artifacts == files - {"train/metrics.json", "train/.gitignore"}  # DVC's and git's
    assert PUBLISHED in run.data.tags
    (version,) = versions_of(run)
    assert str(version.description).startswith("Test accuracy ")
    return run


def test_four_simultaneous_pipelines_of_two_users_lose_nothing(
    server: TeamServer, tmp_path: Path, idx_folder: Path
) -> None:
    folders = [workspace(tmp_path / str(seed), idx_folder, seed) for seed in (11, 12, 13, 14)]
    processes = [
        start(folder, server.variables(user), "train", "evaluate")
        for folder, user in zip(folders, (ANN, BOB, ANN, BOB), strict=True)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert output.splitlines()[-1] == "[0, 0]"
        assert warnings_in(output) == []
    run_ids = set()
    for folder in folders:
        with working_in(folder, server.variables(ANN)):
            run_ids.add(assert_complete().info.run_id)
    assert len(run_ids) == 4
    with working_in(tmp_path, server.variables(ANN)):
        client, _ = connect()
        versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
        assert sorted(int(version.version) for version in versions) == [1, 2, 3, 4]
        aliases = client.get_registered_model(REGISTERED_MODEL).aliases
        assert list(aliases) == [CHAMPION]
        champion = client.get_model_version(REGISTERED_MODEL, aliases[CHAMPION])
        assert " Champion: " in str(champion.description)


def test_environment_variables_are_enough_to_log_to_a_server(
    server: TeamServer, tmp_path: Path, idx_folder: Path, idx_sha256: Mapping[str, str]
) -> None:
    project = create_project(tmp_path, idx_folder, idx_sha256)
    project.variables = server.variables(ANN)
    output = project.run("dvc", "repro")
    assert output.count("Running stage") == 5
    assert warnings_in(output) == []
    assert not (project.root / "mlflow.db").exists()
    assert not (project.root / "mlartifacts").exists()
    with working_in(project.root, server.variables(BOB)):
        run = assert_complete()
        client, experiment_id = connect()
        studies = client.search_runs([experiment_id], "params.learning_rate = '0.5'")
        assert [study.info.status for study in studies] == ["FINISHED"]
        (version,) = versions_of(run)
        model = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/{version.version}")
        assert check_store().fix == ""
    artifacts = {path.name for path in (server.folder / "artifacts").rglob("*") if path.is_file()}
    assert {"predictions.csv", "history.csv", "hill.png", "model.pt2"} <= artifacts
    images = np.random.default_rng(1).random((3, 1, 28, 28), dtype=np.float32)
    network = load_network(project.root / "models/cnn.pt", torch.device("cpu"))
    with torch.no_grad():
        logits = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(model.predict(images), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("credentials", [{}, {"MLFLOW_TRACKING_PASSWORD": "wrong"}])
def test_a_rejected_user_can_train_and_learns_the_reason(
    server: TeamServer,
    tmp_path: Path,
    idx_folder: Path,
    capsys: pytest.CaptureFixture[str],
    credentials: dict[str, str],
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=21, epochs=1)
    variables = {"MLFLOW_TRACKING_URI": server.address}
    if credentials:
        variables = server.variables(ANN) | credentials
    with working_in(folder, variables):
        train.run(load_params().train, live_run)
        (warning,) = warnings_in(capsys.readouterr().err)
        assert "the server rejects this MLFLOW_TRACKING_USERNAME" in warning
        load_network(Path("models/cnn.pt"), torch.device("cpu"))
        check = check_store()
        assert "the server rejects this" in check.result
        assert check.fix
        assert cli.main(["publish"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("mnist12k: error: tracking failed (the server rejects this")


def test_a_server_that_hangs_costs_one_warning_and_seconds(
    server: TeamServer, tmp_path: Path, idx_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=22)
    with working_in(folder, server.variables(ANN)):
        server.signal(signal.SIGSTOP)
        try:
            started = time.perf_counter()
            train.run(load_params().train, live_run)
            assert time.perf_counter() - started < 45
        finally:
            server.signal(signal.SIGCONT)
        assert len(warnings_in(capsys.readouterr().err)) == 1
        load_network(Path("models/cnn.pt"), torch.device("cpu"))


def test_a_server_killed_during_a_training_costs_one_warning_and_is_completed_later(
    server: TeamServer, tmp_path: Path, idx_folder: Path
) -> None:
    folder = workspace(tmp_path, idx_folder, seed=23, epochs=8)
    with start(folder, server.variables(ANN), "train") as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith("epoch 2/8"):
                server.kill()
    with working_in(folder, server.variables(ANN)):
        try:
            assert output.splitlines()[-1] == "[0]"
            (warning,) = warnings_in(output)
            assert "`mnist12k publish` adds what is missing" in warning
            assert "Traceback" not in output
            params = load_params()
            evaluate.run(params.evaluate)  # needs no server
        finally:
            server.start()
        (interrupted,) = runs_of_training()
        assert interrupted.info.status == "RUNNING"
        assert check_store().fix == "`mnist12k publish`"
        publish(params)
        assert assert_complete().info.run_id == interrupted.info.run_id
