"""The fault campaign.

    make faults                                        # writes benchmarks/faults.md
    PYTHONPATH=tests python -m faults.campaign --small --parts disk damage

Every case damages something, runs a command, and checks what the project promises; see the
modules `kills`, `params`, `damage` and `disk` beside this one. Results are kept as they come, in
.faults_cache/results.jsonl: an interrupted campaign resumes, and starts over if the code changes.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from project import ROOT, git

from faults import damage, disk, kills, params
from faults.case import Case, NotRunError
from faults.templates import Templates, create_templates
from mnist12k.fingerprint import folder_md5

RESULTS = ROOT / ".faults_cache/results.jsonl"
REPORT = ROOT / "benchmarks/faults.md"
SECRETS = Path("tests/test_secrets.py")
SEED = 1
SIDE_BY_SIDE = 3  # cases that are processes of their own: each waits a lot
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


class Size(NamedTuple):
    """How many cases to run."""

    kills: Mapping[str, int]  # by scenario
    values: int  # impossible ones per key of params.yaml
    damages: int  # per file and command that reads it
    disks: int  # per command


FULL = Size(dict(zip(kills.SCENARIOS, (3, 3, 6, 4, 4), strict=True)), 2, 3, 3)
SMALL = Size(dict.fromkeys(kills.SCENARIOS, 1), 1, 1, 1)


class Result(NamedTuple):
    """How a case ended."""

    row: str
    name: str
    result: str
    detail: str
    seconds: float


def parts(
    templates: Templates, folder: Path, seed: int, size: Size
) -> dict[str, Callable[[], Iterator[Case]]]:
    """Return the cases of every part."""
    return {
        "kills": lambda: kills.Kills(templates, folder).cases(seed, size.kills),
        "params": lambda: params.cases(templates, folder / "params", seed, size.values),
        "damage": lambda: damage.cases(templates, folder / "damage", seed, size.damages),
        "disk": lambda: disk.cases(templates, seed, size.disks),
        "secrets": secrets,
    }


def secrets() -> Iterator[Case]:
    """Yield one case per test in tests/test_secrets.py."""

    def missing(_: Path) -> None:
        raise NotRunError(f"{SECRETS} is missing")

    if not (ROOT / SECRETS).is_file():
        yield Case("secrets", str(SECRETS), missing)
        return
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(SECRETS)]
    collected = subprocess.run(
        [*command, "--collect-only"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [line.partition("::")[2] for line in collected.stdout.splitlines() if "::" in line]

    @cache
    def run() -> dict[str, str]:
        with tempfile.NamedTemporaryFile(suffix=".xml") as file:
            subprocess.run(
                [*command, f"--junitxml={file.name}"], cwd=ROOT, capture_output=True, check=False
            )
            tests = ElementTree.parse(file.name).iter("testcase")  # noqa: S314
            return {test.get("name", ""): _outcome(test) for test in tests}

    def check(name: str, _: Path) -> None:
        outcome = run().get(name, "it did not run")
        if outcome.startswith("skipped"):
            raise NotRunError(outcome)
        assert not outcome, outcome

    for name in names:
        yield Case("secrets", name, partial(check, name))


def _outcome(test: ElementTree.Element) -> str:
    """Return an empty text for a test that passes, else the reason."""
    for child in test:
        if child.tag in ("failure", "error", "skipped"):
            return f"{child.tag}: {child.get('message', '')[:500]}"
    return ""


def run_case(case: Case, folder: Path) -> Result:
    """Run a case in a new folder, and remove it."""
    started = time.perf_counter()
    folder.mkdir(parents=True)
    result, detail = PASSED, ""
    try:
        case.check(folder)
    except NotRunError as error:
        result, detail = NOT_RUN, str(error)
    except Exception as error:  # an AssertionError, or a case that could not be checked
        result, detail = FAILED, f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.perf_counter() - started, 1)
    return Result(case.row, case.name, result, detail[:2000], seconds)


def run_cases(cases: Iterable[Case], folder: Path) -> Iterator[Result]:
    """Run all cases: those with processes of their own side by side, the others after them."""
    todo = [(case, folder / str(number)) for number, case in enumerate(cases)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        futures: list[Future[Result]] = [
            pool.submit(run_case, case, place) for case, place in todo if case.processes
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    for case, place in todo:
        if not case.processes:
            yield run_case(case, place)


def read_results(code: str, seed: int) -> list[Result]:
    """Return the results of an earlier, interrupted campaign of the same code and seed."""
    if not RESULTS.is_file():
        return []
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return [Result(*line["result"]) for line in lines if line["campaign"] == [code, seed]]


def write_result(code: str, seed: int, result: Result) -> None:
    """Append a result to the file."""
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"campaign": [code, seed], "result": result}) + "\n")


def table(results: Iterable[Result]) -> str:
    """Return the table in Markdown, then the cases that failed or did not run."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result.row, []).append(result)
    lines = ["| fault | passed | not run | seconds |", "|---|---|---|---|"]
    for name, cases in rows.items():
        run = [case for case in cases if case.result != NOT_RUN]
        passed = sum(case.result == PASSED for case in run)
        seconds = sum(case.seconds for case in cases)
        left = len(cases) - len(run)
        lines.append(f"| {name} | {passed} of {len(run)} | {left or ''} | {seconds:.0f} |")
    for outcome, heading in ((FAILED, "Failed"), (NOT_RUN, "Not run")):
        listed = [case for cases in rows.values() for case in cases if case.result == outcome]
        if listed:
            lines += ["", f"{heading}:", ""]
            lines += [f"- {case.name}: {' '.join(case.detail.split())[:300]}" for case in listed]
    return "\n".join(lines)


def report(results: list[Result], seed: int, seconds: float) -> str:
    """Return benchmarks/faults.md."""
    commit = git(ROOT, "rev-parse", "--short", "HEAD").strip()
    changed = " with uncommitted changes" if git(ROOT, "status", "--porcelain", "src") else ""
    python = f"Python {platform.python_version()}, {platform.system()}"
    machine = f"{platform.machine()}, {os.cpu_count()} CPU cores, {python}"
    return (
        "# Fault campaign\n\n"
        f"`make faults`, {datetime.now(UTC):%Y-%m-%d}, on {machine}; commit "
        f"{commit}{changed}, seed {seed}.\n"
        f"It took {seconds / 60:.0f} minutes.\n\n"
        "Each case kills a command at a random moment, damages a file or fills the disk. Then it\n"
        "runs a command and checks the exit code, the lines of output, every file and the runs in\n"
        "MLflow. `tests/faults/` has the cases; `make test-all` runs a few of them.\n\n"
        f"{table(results)}\n"
    )


def main() -> int:
    """Run the campaign; return 1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m faults.campaign")
    names = ("kills", "params", "damage", "disk", "secrets")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--small", action="store_true", help="a few cases of every kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--fresh", action="store_true", help="run cases again that have a result")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    size, seed = SMALL if arguments.small else FULL, arguments.seed
    code = folder_md5(ROOT / "src") + folder_md5(ROOT / "tests/faults")
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    known = {result.name: result for result in read_results(code, seed)}
    print(f"seed {seed}; {len(known)} results of an interrupted campaign", flush=True)
    started = time.perf_counter()
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        templates = create_templates(folder / "templates")
        every = parts(templates, folder, seed, size)
        for part in arguments.parts:
            cases = [case for case in every[part]() if arguments.only in case.name]
            results |= {case.name: known[case.name] for case in cases if case.name in known}
            todo = [case for case in cases if case.name not in known]
            print(f"{part}: {len(todo)} cases to run", flush=True)
            for number, result in enumerate(run_cases(todo, folder / part / "cases"), start=1):
                write_result(code, seed, result)
                results[result.name] = result
                if result.result != PASSED or result.seconds > 2 or number % 50 == 0:
                    minutes = (time.perf_counter() - started) / 60
                    detail = f": {result.detail}" if result.detail else ""
                    line = f"{number}/{len(todo)} {result.result}: {result.name}{detail}"
                    print(f"{minutes:5.1f} min  {line}", flush=True)
    ended = list(results.values())
    print(f"\n{table(ended)}")
    if set(arguments.parts) == set(names) and not arguments.small and not arguments.only:
        seconds = sum(result.seconds for result in known.values())
        spent = time.perf_counter() - started + seconds
        REPORT.write_text(report(ended, seed, spent), encoding="utf-8", newline="\n")
    return int(any(result.result == FAILED for result in ended))


if __name__ == "__main__":
    sys.exit(main())
