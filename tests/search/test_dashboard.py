"""Optuna's dashboard, in a browser, shows a search under its name, while it runs and afterwards."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import browser
import optuna
import pytest
from playwright.sync_api import Page, expect
from servers import free_port, get, started
from tune_command import new_folder, read_until, start

from mnist12k.search.journal import open_journal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to stop"),
]


@pytest.fixture
def page() -> Iterator[Page]:
    if browser.PATH is None:
        pytest.skip("Chromium is not installed")
    with browser.chromium() as running:
        page = running.new_page()
        page.set_default_timeout(browser.MILLISECONDS)
        expect.set_options(timeout=browser.MILLISECONDS)
        yield page


def test_the_dashboard_shows_a_search_by_its_name_and_does_not_disturb_it(
    page: Page, tmp_path: Path, idx_folder: Path
) -> None:
    folder = new_folder(tmp_path / "searched", idx_folder, trials=4, finalists=1, finalist_budget=8)
    journal, port = folder / "optuna.journal", str(free_port())
    address = f"http://127.0.0.1:{port}"
    objective = page.locator(".ytitle").first  # of the history, the first chart
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    with start(folder, "tune") as search:
        name = read_until(search, "mnist12k-").splitlines()[-1].partition(":")[0]
        read_until(search, "trial ")
        command = ("optuna-dashboard", "optuna.journal", "--port", port)
        with started(*command, folder=folder) as server:
            server.wait_until_up(f"{address}/api/studies")
            page.goto(f"{address}/dashboard/")
            page.get_by_role("link", name=re.compile(rf"{name}(?!-)")).click()
            expect(objective).to_have_text("validation loss")
            while search.poll() is None:
                assert get(f"{address}/api/studies/0") is not None
            output = search.communicate()[0]
            assert search.returncode == 0, output

            written = journal.read_bytes()
            page.reload()
            expect(page.get_by_text(re.compile("^Best Trial"))).to_be_visible()
            expect(objective).to_have_text("validation loss")
            page.get_by_role("link", name="Note").click()
            expect(page.get_by_text("Is there a better recipe than")).to_be_visible()
            page.goto(f"{address}/dashboard/")
            page.get_by_role("link", name=f"{name}-finalists").click()
            expect(objective).to_have_text("validation loss")
    assert hosts - {None} == {"127.0.0.1"}
    assert journal.read_bytes() == written
    assert {path.suffix for path in folder.glob("optuna.journal*")} == {".journal", ".flock"}
    study = optuna.load_study(study_name=name, storage=open_journal(journal))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
