"""The UI of `mnist12k ui`, in a browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import browser
import pytest
from mlflow.entities import Run
from playwright.sync_api import Page, expect
from servers import environment, get, started
from workspace import inside

from mnist12k.params import load_params
from mnist12k.stages import evaluate, train
from mnist12k.tracking.publish import publish
from mnist12k.tracking.runs import live_run
from mnist12k.tracking.store import connect
from mnist12k.tracking.ui import _is_listening

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has neither SIGINT nor pseudo-terminals"),
]


@pytest.fixture(scope="module")
def published(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose store has two live training runs, with seeds 1 and 2, and a study."""
    folder = tmp_path_factory.mktemp("shown") / "workspace"
    shutil.copytree(trained_template, folder, symlinks=True)
    with inside(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
        text = Path("params.yaml").read_text(encoding="utf-8")
        for seed in ("1", "2"):
            changed = text.replace("seed: 1\n", f"seed: {seed}\n", 1)
            Path("params.yaml").write_text(changed, encoding="utf-8")
            params = load_params()
            train.run(params.train, live_run)
            evaluate.run(params.evaluate)
            publish(params)
        client, experiment_id = connect()
        study = client.create_run(experiment_id, run_name="study").info.run_id
        client.log_metric(study, "hill/first_step_edge", 67.1)
        client.set_terminated(study)
    return folder


@pytest.fixture(scope="module")
def runs(published: Path) -> list[Run]:
    with inside(published):
        client, experiment_id = connect()
        return list(client.search_runs([experiment_id], "params.`train.epochs` != ''"))


@pytest.fixture(scope="module")
def address(published: Path) -> Iterator[str]:
    with started("mnist12k", "ui", folder=published) as server:
        yield server.wait_for(lambda: re.search(r"Runs: (\S+)", server.output())).group(1)


@pytest.fixture(scope="module")
def hosts() -> set[str | None]:
    """The host of every request that the pages have made."""
    return set()


@pytest.fixture(scope="module")
def browser_page(hosts: set[str | None]) -> Iterator[Page]:
    if browser.PATH is None:
        pytest.skip("Chromium is not installed")
    with browser.chromium() as running:
        page = running.new_page(viewport={"width": 2600, "height": 1000})
        page.set_default_timeout(browser.MILLISECONDS)
        expect.set_options(timeout=browser.MILLISECONDS)
        page.context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        yield page


@pytest.fixture
def page(browser_page: Page, address: str, runs: list[Run]) -> Page:
    """The page at the printed address, once it lists the runs."""
    browser_page.goto(address)
    for run in runs:
        expect(browser_page.get_by_role("link", name=run.info.run_name)).to_be_visible()
    return browser_page


def test_the_printed_address_lists_both_runs_with_params_and_metrics(
    page: Page, runs: list[Run]
) -> None:
    for column in (
        "test/accuracy",
        "test/loss",
        "validation/accuracy",
        *(f"train.{name}" for name in ("dropout", "epochs", "learning_rate")),
        *(f"train.{name}" for name in ("recipe", "schedule", "seed")),
    ):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
    for run in runs:
        parts = page.locator(f'[role="row"][row-id="{run.info.run_id}"]').all_inner_texts()
        params = {run.data.params[f"train.{name}"] for name in ("recipe", "epochs", "seed")}
        metrics = {f"{run.data.metrics[f'{part}/accuracy']:g}" for part in ("test", "validation")}
        assert {run.info.run_name, *params, *metrics} <= set(" ".join(parts).split())


def compare(page: Page, runs: list[Run]) -> None:
    """Select the runs in the list, and press Compare."""
    for run in runs:
        page.locator(f'[role="row"][row-id="{run.info.run_id}"]').get_by_label(
            "Press Space to toggle row selection"
        ).check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()


def test_two_selected_runs_are_compared_side_by_side(page: Page, runs: list[Run]) -> None:
    boxes = page.get_by_label("Press Space to toggle row selection")
    expect(boxes).to_have_count(len(runs) + 1)  # the study's as well
    compare(page, runs)
    for run in runs:
        expect(page.get_by_role("cell", name=run.info.run_name)).to_be_visible()
    seeds = page.get_by_role("row").filter(has_text="train.seed")
    assert sorted(seeds.inner_text().split()) == ["1", "2", "train.seed"]
    expect(page.get_by_text("test/accuracy", exact=True)).to_be_visible()
    shown = page.inner_text("body").split("Metrics", 1)[1].split()
    for run in runs:
        assert f"{run.data.metrics['test/accuracy']:.3g}" in shown


def test_the_page_that_compares_runs_opens_on_the_validation_loss(
    page: Page, runs: list[Run]
) -> None:
    assert all("system/cpu_utilization_percentage" in run.data.metrics for run in runs)
    compare(page, runs)
    axes = page.locator(".axis-title")
    expect(axes).to_have_text(["train.seed", "validation/loss"])


def test_the_charts_begin_with_those_of_training_runs(page: Page, address: str) -> None:
    page.goto(address.replace("/runs?", "/runs?compareRunsMode=CHART&"))
    expect(page.get_by_text("Training runs", exact=True)).to_be_visible()
    expect(page.get_by_text("Parallel Coordinates")).to_be_visible()
    first = "validation/accuracy vs. test/accuracy"
    titles = ("Training runs", first, "validation/loss", "train/loss")
    shown = page.inner_text("body")
    assert sorted(titles, key=shown.index) == list(titles)
    assert "hill/" not in shown[: shown.index(titles[-1])]  # the study's charts come after


def test_the_description_of_a_run_shows_its_figures(
    page: Page, address: str, runs: list[Run]
) -> None:
    run = runs[0].info
    path = f"/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    page.goto(address.partition("/#")[0] + path)
    picture = page.locator("p img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100


@pytest.mark.usefixtures("page")
def test_no_page_sends_a_request_to_another_machine(hosts: set[str | None]) -> None:
    assert hosts - {None} == {"127.0.0.1"}  # None: an image within the page


def test_the_printed_address_is_on_loopback_and_answers(address: str, runs: list[Run]) -> None:
    server, _, path = address.partition("/#")
    assert server.startswith("http://127.0.0.1:")
    experiment_id = runs[0].info.experiment_id
    assert path.startswith(f"/experiments/{experiment_id}/runs?workflowType=machine_learning")
    assert get(f"{server}/health") == "OK"
    experiment = f"{server}/api/2.0/mlflow/experiments/get?experiment_id={experiment_id}"
    assert "mnist12k" in str(get(experiment))


def test_in_a_terminal_with_a_screen_a_browser_opens_and_ctrl_c_stops_the_server(
    published: Path, tmp_path: Path
) -> None:
    opened, script = tmp_path / "address", tmp_path / "browser"
    script.write_text(
        f'#!/bin/sh\nprintf %s "$1" >"{opened}.new" && mv "{opened}.new" "{opened}"\n'
    )
    script.chmod(0o755)
    terminal, stdout = os.openpty()
    with subprocess.Popen(
        ["mnist12k", "ui"],
        cwd=published,
        env=environment() | {"BROWSER": str(script), "DISPLAY": ":0"},
        stdout=stdout,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(stdout)
        output = os.read(terminal, 1000).decode()
        try:
            deadline = time.monotonic() + 60
            while not opened.exists():
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    os.close(terminal)
    assert process.returncode == 0
    assert opened.read_text(encoding="utf-8") == output.split()[1]


def test_a_port_of_ones_choice_is_used_or_reported_as_taken(published: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["mnist12k", "ui", "--port", port]
        done = subprocess.run(command, cwd=published, capture_output=True, text=True, check=False)
    assert done.stderr == f"mnist12k: error: --port {port} is in use\n"
    with started(*command, folder=published) as server:
        found = server.wait_for(lambda: re.search(r"Runs: (\S+)", server.output())).group(1)
        assert urlsplit(found).port == int(port)


def test_a_server_of_another_process_does_not_count() -> None:
    with socket.socket() as server, subprocess.Popen([sys.executable, "-c", "input()"]) as another:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert _is_listening(os.getpid(), port)
        assert not _is_listening(another.pid, port)
        another.kill()
