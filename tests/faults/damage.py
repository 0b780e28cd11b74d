"""Damaged files of every kind that the project reads: each is named in one line, or repaired."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache, partial
from io import StringIO
from pathlib import Path
from random import Random
from typing import NamedTuple

import tune_command
from drawn_digits import twenty_pictures
from project import CONTRACT
from workspace import inside, make_workspace

from faults.case import ERROR, WARNING, Case, Outcome, assert_no_traceback, call, generator
from faults.kills import REPRO, assert_one_complete_run, assert_runs
from faults.templates import Templates, copy_complete, files_below
from mnist12k.cnn.history import Epoch
from mnist12k.cnn.settings import Train
from mnist12k.outputs import RESULTS
from mnist12k.params import load_params
from mnist12k.paths import BEST_PARAMS, CHECKPOINTS, EPOCHS, LOCK, MODEL, PIPELINE
from mnist12k.stages import train
from mnist12k.stages.seeds import IDENTITIES

Damage = Callable[[bytes, float], bytes | None]  # at a place from 0 to 1; None: a folder
Content = Callable[[bytes, float], bytes]

# What each command reads, with which the whole line must name the damaged file.
REQUIRED = {
    "evaluate": ["train/result.json", "train/history.csv"],
    "report": [
        *("backprop/metrics.json", "backprop/losses.csv", "backprop/hill.csv"),
        *("train/result.json", "train/history.csv"),
        *("evaluate/result.json", "evaluate/predictions.csv"),
    ],
    "publish": ["train/result.json", "train/history.csv", "evaluate/result.json"],
    "export": ["train/result.json", "evaluate/result.json"],
}
OPTIONAL = {  # damage to the results of optional studies is a warning
    "report": [
        *("seeds/results.csv", "seeds/metrics.json"),
        *("tune/metrics.json", "tune/trials.csv", "tune/finalists.csv"),
    ],
    "publish": ["tune/metrics.json", "tune/trials.csv", "tune/epochs.csv"],
}


def truncated(content: bytes, fraction: float) -> bytes:
    return content[: int(fraction * (len(content) - 2))]


def garbled(content: bytes, fraction: float) -> bytes:
    place = int(fraction * (len(content) - 1))
    return content[:place] + b"\xff\x00\xfe" + content[place:]


def half_a_line(content: bytes, fraction: float) -> bytes:
    """Truncate within a line: whole lines are what an interrupted study leaves."""
    return truncated(content, fraction).rstrip(b"\n")[:-1]


def overwritten(content: bytes, fraction: float) -> bytes:
    place = int(fraction * (len(content) - 1))
    return (content[:place] + bytes(64) + content[place + 64 :])[: len(content)]


DAMAGES: dict[str, Content] = {
    "truncated": truncated,
    "garbled": garbled,
    "empty": lambda *_: b"",
    "an empty object": lambda *_: b"{}\n",
    "a list": lambda *_: b"[1, 2]\n",
    "a picture": lambda *_: b"\x89PNG\r\n\x1a\n" * 50,
}
# Nothing is left that a command could use: the first part of dvc.yaml is enough for some.
NO_PART: dict[str, Damage] = {name: DAMAGES[name] for name in DAMAGES if name != "truncated"}
FOLDER: dict[str, Damage] = {"a folder": lambda *_: None}
OVERWRITTEN: dict[str, Damage] = {"overwritten": overwritten}
LINES: dict[str, Damage] = {
    "half a line": half_a_line,
    "garbled": garbled,
    "empty": DAMAGES["empty"],
    "a picture": DAMAGES["a picture"],
}


class Reading(NamedTuple):
    """A command and a file that it reads, and how the command should end if that is damaged.

    `ends` is `error`: one line that names the file, exit code 2; `warning`: one line, exit code 0;
    `either` of both; `fix`: a line of `mnist12k doctor`; or `repaired`: exit code 0, and a line.
    """

    command: str
    file: str
    ends: str
    damages: Mapping[str, Damage]
    named: str = ""  # what names the file, if not its path


def readings() -> Iterator[Reading]:
    """Yield what commands read from reports/, models/, data/ and benchmarks/ and do not repair."""
    for ends, files in (("error", REQUIRED), ("warning", OPTIONAL)):
        for command, names in files.items():
            for name in names:
                yield Reading(command, f"reports/{name}", ends, DAMAGES)
                if ends == "error":
                    yield Reading(command, f"reports/{name}", ends, FOLDER)
    yield Reading("publish", "reports/evaluate/predictions.csv", "error", LINES)
    yield Reading("tune --apply", str(BEST_PARAMS), "error", LINES | FOLDER)
    for path in (RESULTS, IDENTITIES):
        yield Reading("seeds", str(path), "error", LINES)
    for name in ("fused.json", "training.json"):
        yield Reading("report", f"benchmarks/{name}", "error", LINES | FOLDER)
    for command in ("evaluate", "report", "publish", "export", "predict pictures"):
        yield Reading(command, str(MODEL), "error", DAMAGES | FOLDER | OVERWRITTEN)
    yield Reading("report", str(EPOCHS), "warning", DAMAGES)
    for command, part in (
        *(("train", "train"), ("seeds", "train"), ("tune", "train")),
        *(("evaluate", "t10k"), ("report", "t10k")),
    ):
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            file = f"data/mnist/MNIST/raw/{part}-{kind}"
            yield Reading(command, file, "error", DAMAGES | FOLDER, named="data/mnist/MNIST/raw")
    yield Reading("train", str(PIPELINE), "error", NO_PART | FOLDER)
    yield Reading("doctor", str(LOCK), "fix", LINES | FOLDER)
    yield Reading(
        *("doctor", "data/mnist/MNIST/raw/train-images-idx3-ubyte", "fix"),
        *(OVERWRITTEN, "train-images-idx3-ubyte"),
    )


def cases(templates: Templates, folder: Path, seed: int, per_reading: int) -> Iterator[Case]:
    """Yield this many damages of every file that a command reads."""
    complete = copy_complete(templates.trained, folder / "complete")
    (complete / "pictures").mkdir()
    twenty_pictures(complete / "pictures")
    draw = generator(seed)
    for reading in readings():
        names = sorted(reading.damages)
        for name in draw.sample(names, min(per_reading, len(names))):
            place = draw.random()
            label = f"{reading.file} {name} at {place:.3f}: mnist12k {reading.command}"
            check = partial(check_reading, complete, reading, reading.damages[name], place)
            yield Case(f"damaged: {_kind(reading.file)}", label, check)
    yield from _pictures(complete, draw, per_reading)
    yield from _data(templates, draw, per_reading)
    yield from _checkpoints(templates, folder, draw, per_reading)
    yield from _stores(templates, draw, per_reading)
    yield from _artifacts(templates, draw, per_reading)
    yield from _locks(templates, draw, per_reading)
    yield from _journals(templates, folder, draw, per_reading)


def _kind(file: str) -> str:
    parts = Path(file).parts
    names = {"data": "MNIST's files", "benchmarks": "benchmarks", "models": "models/cnn.pt"}
    return "reports" if parts[0] == "reports" else names.get(parts[0], file)


def spoil(path: Path, damage: Damage, place: float) -> bytes | None:
    """Damage a file; return what it then holds, or None if it is a folder."""
    left = damage(path.read_bytes(), place)
    path.unlink()
    if left is None:
        path.mkdir()
    else:
        path.write_bytes(left)
    return left


@contextmanager
def damaged(path: Path, damage: Damage, place: float) -> Iterator[bytes]:
    """Damage a file, then restore it; yield what it held."""
    content = path.read_bytes()
    spoil(path, damage, place)
    try:
        yield content
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(content)


def check_reading(complete: Path, reading: Reading, damage: Damage, place: float, _: Path) -> None:
    """Run the command with the damaged file, and compare everything with what was there before."""
    before = _results(complete)
    with inside(complete), damaged(complete / reading.file, damage, place):
        outcome = call(reading.command.split(), limit=60)
    assert_ends(outcome, reading.ends, reading.named or reading.file)
    if outcome.code:
        changed = [name for name, data in _results(complete).items() if before.get(name) != data]
        assert changed == [], f"changed: {changed}"


def _results(folder: Path) -> dict[str, bytes]:
    return {
        f"{part}/{name}": data
        for part in ("models", "reports", "data")
        for name, data in files_below(folder / part).items()
    }


def assert_ends(outcome: Outcome, ends: str, named: str) -> None:
    """Check a command's exit code, and that one line names the file."""
    assert_no_traceback(outcome.err + outcome.out)
    lines = outcome.err.splitlines()
    code = {"error": 2, "warning": 0, "fix": 2, "repaired": 0}.get(ends, outcome.code)
    assert outcome.code == code, f"exit code {outcome.code}: {lines[-3:]}"
    assert outcome.code in (0, 2), f"exit code {outcome.code}: {lines[-3:]}"
    if ends == "fix":
        lines = [line for line in outcome.out.splitlines() if line.startswith("fix")]
    elif ends == "repaired":
        lines += outcome.out.splitlines()
    else:
        strange = [line for line in lines if not line.startswith((ERROR, WARNING))]
        assert strange == [], f"lines that are neither error nor warning: {strange[:3]}"
        assert len(outcome.errors()) == bool(code), f"errors: {outcome.errors()}"
    naming = [line for line in lines if named in line]
    assert naming, f"no line names {named}: {lines[-3:]}"
    assert len(naming) == 1 or ends == "repaired", f"{len(naming)} lines: {naming}"


def _pictures(complete: Path, draw: Random, count: int) -> Iterator[Case]:
    names = sorted(path.name for path in (complete / "pictures").iterdir())
    damages = DAMAGES | OVERWRITTEN
    for number in range(3 * count):
        name, damage, place = draw.choice(names), draw.choice(sorted(damages)), draw.random()
        check = partial(check_picture, complete, f"pictures/{name}", damages[damage], place)
        label = f"{name} {damage} at {place:.3f}, {number}: mnist12k predict"
        yield Case("damaged: pictures", label, check)


def check_picture(complete: Path, file: str, damage: Damage, place: float, _: Path) -> None:
    """Classify a damaged picture beside a good one: it gets a digit, or a line."""
    good = next(str(path) for path in sorted(complete.glob("pictures/*")) if path.name not in file)
    with inside(complete), damaged(complete / file, damage, place):
        outcome = call(["predict", file, good], limit=20)
    assert_no_traceback(outcome.err + outcome.out)
    lines = outcome.err.splitlines()
    assert good in outcome.out, "the good picture has no digit"
    if outcome.code == 0:  # enough of it is left
        assert lines == [], lines
    else:
        assert outcome.code == 2, f"exit code {outcome.code}: {lines[-3:]}"
        assert len(lines) == 2, lines
        assert lines[0].startswith(f"{file}: "), lines


def _data(templates: Templates, draw: Random, count: int) -> Iterator[Case]:
    damages = DAMAGES | OVERWRITTEN | FOLDER
    for name in draw.sample(sorted(damages), min(count, len(damages))):
        check = partial(check_data, templates, damages[name], draw.random())
        yield Case("damaged: MNIST's files", f"test images {name}: mnist12k fetch", check)


def check_data(templates: Templates, damage: Damage, place: float, folder: Path) -> None:
    """Damage the test images; the next fetch puts the right ones there."""
    project = templates.finished_project(folder / "project")
    path = project.root / "data/mnist/MNIST/raw/t10k-images-idx3-ubyte"
    with inside(project.root), damaged(path, damage, place) as content:
        outcome = call(["fetch"])
        assert path.is_file()
        assert path.read_bytes() == content
    assert_ends(outcome, "repaired", "data/mnist")


def _checkpoints(templates: Templates, folder: Path, draw: Random, count: int) -> Iterator[Case]:
    interrupted = cache(partial(interrupted_training, templates, folder / "interrupted"))
    damages = DAMAGES | OVERWRITTEN
    for name in draw.sample(sorted(damages), min(count, len(damages))):
        place, suffix = draw.random(), draw.choice([".pt", ".npy"])
        check = partial(check_checkpoint, templates, interrupted, damages[name], place, suffix)
        label = f"checkpoint, {suffix}, {name} at {place:.3f}: mnist12k train"
        yield Case("damaged: checkpoints", label, check)
    for name in draw.sample(sorted(DAMAGES), min(count, 2)):
        check = partial(check_copies, templates, DAMAGES[name], draw.random())
        label = f"copies of outputs {name}: a training that diverges"
        yield Case("damaged: checkpoints", label, check, processes=True)


def interrupted_training(templates: Templates, folder: Path) -> Path:
    """Create a training that was interrupted after its first epoch."""

    @contextmanager
    def interrupting(_: Train, _resumes: bool) -> Iterator[Callable[[Epoch], None]]:
        def stop(_: Epoch) -> None:
            raise KeyboardInterrupt

        yield stop

    make_workspace(folder, templates.idx_folder)
    quiet = contextlib.redirect_stdout(StringIO())
    with inside(folder), quiet, contextlib.suppress(KeyboardInterrupt):
        train.run(load_params().train, interrupting)
    return folder


def check_checkpoint(
    templates: Templates,
    interrupted: Callable[[], Path],
    damage: Damage,
    place: float,
    suffix: str,
    folder: Path,
) -> None:
    """Resume from a damaged checkpoint: it is named, and the training ends as without it."""
    root = folder / "training"
    shutil.copytree(interrupted(), root, symlinks=True)
    (checkpoint,) = root.glob(f"{CHECKPOINTS}/*/training.pt")
    with inside(root):
        part = checkpoint.with_suffix(suffix)
        left = damage(part.read_bytes(), place)
        assert left is not None
        part.write_bytes(left)
        outcome = call(["train"])
    assert_ends(outcome, "repaired", str(checkpoint.relative_to(root)))
    for output in (MODEL, EPOCHS):
        assert (root / output).read_bytes() == (templates.trained / output).read_bytes()


def check_copies(templates: Templates, damage: Damage, place: float, folder: Path) -> None:
    """Damage the copies of outputs; a training that fails still restores the right ones."""
    project = templates.finished_project(folder / "project")
    before = project.contents()
    copies = [path for path in (project.root / CHECKPOINTS).rglob("*") if path.is_file()]
    for copy in copies:
        left = damage(copy.read_bytes(), place)
        assert left is not None
        copy.write_bytes(left)
    project.edit("learning_rate: null", "learning_rate: 1e20")
    output = project.run("dvc", "repro", "train", code=255)
    assert_no_traceback(output)
    different = [
        path
        for path in CONTRACT
        if (project.root / path).exists() and (project.root / path).read_bytes() != before[path]
    ]
    assert different == [], f"restored from damaged copies: {different}"


def _stores(templates: Templates, draw: Random, count: int) -> Iterator[Case]:
    damages = DAMAGES | OVERWRITTEN | FOLDER | {"another database": _other_database}
    ends = {"publish": "either", "doctor": "fix", "promote --version 1": "error", "train": "either"}
    for command, ending in ends.items():
        for name in draw.sample(sorted(damages), min(2 * count, len(damages))):
            place = draw.random()
            check = partial(check_store, templates, command, ending, damages[name], place)
            label = f"mlflow.db {name} at {place:.3f}: mnist12k {command}"
            yield Case("damaged: mlflow.db", label, check)


def _other_database(*_: object) -> bytes:
    with closing(sqlite3.connect(":memory:")) as store:
        store.execute("CREATE TABLE runs (name TEXT)")
        return store.serialize()


def check_store(
    templates: Templates, command: str, ends: str, damage: Damage, place: float, folder: Path
) -> None:
    """Run a command with a damaged store; it may be whole enough for this command."""
    project = templates.finished_project(folder / "project")
    with inside(project.root), damaged(project.root / "mlflow.db", damage, place):
        outcome = call(command.split(), limit=60)
    if outcome.code == 0 and outcome.err == "":
        assert_no_traceback(outcome.out)
    else:
        # An emptied store is a new one, in which there is no version yet.
        named = "mlflow.db" in outcome.err + outcome.out
        assert_ends(outcome, ends, "mlflow.db" if named else "`mnist12k publish`")


def _artifacts(templates: Templates, draw: Random, count: int) -> Iterator[Case]:
    for place, what in (("[0-9a-f]*/artifacts", "artifact"), ("models/m-*", "model")):
        for name in draw.sample(["truncated", "empty", "missing"], min(count, 3)):
            check = partial(check_artifact, templates, place, name, draw.random())
            label = f"a run's {what} {name}: mnist12k publish"
            yield Case("damaged: artifacts in MLflow", label, check)


def check_artifact(
    templates: Templates, pattern: str, damage: str, place: float, folder: Path
) -> None:
    """Damage a file among the artifacts; `mnist12k publish` repairs the run or the model."""
    project = templates.finished_project(folder / "project")
    paths = [
        path
        for top in (project.root / "mlartifacts").glob(pattern)
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.stat().st_size > 2
    ]
    path = paths[int(place * len(paths))]
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(DAMAGES[damage](content, place))
    # In one process, MLflow would remember where another copy has the models with these numbers.
    assert_no_traceback(project.run("mnist12k", "publish"))
    name = path.relative_to(project.root / "mlartifacts").as_posix()
    assert_runs(project)
    assert_one_complete_run(project)
    if "models" in pattern:
        assert path.is_file(), f"{name} is still missing"
        # What torch.export writes depends on the place of the source code.
        if path.suffix == ".pt2":
            assert path.stat().st_size > 0.9 * len(content), f"{name} is still damaged"
        elif path.name != "MLmodel":  # it has the time
            assert path.read_bytes() == content, f"{name} is still damaged"


def _locks(templates: Templates, draw: Random, count: int) -> Iterator[Case]:
    damages = DAMAGES | {"a conflict of git": _conflict}
    for name in draw.sample(sorted(damages), min(count, len(damages))):
        place = draw.random()
        check = partial(check_lock, templates, damages[name], place)
        label = f"dvc.lock {name} at {place:.3f}: make repro"
        yield Case("damaged: dvc.lock", label, check, processes=True)


def _conflict(content: bytes, _: float) -> bytes:
    return b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> other\n"


def check_lock(templates: Templates, damage: Content, place: float, folder: Path) -> None:
    """Damage dvc.lock; `make repro` leaves a whole one and the same results."""
    project = templates.finished_project(folder / "project")
    before = project.contents()
    path = project.root / PIPELINE.with_suffix(".lock")
    path.write_bytes(damage(path.read_bytes(), place))
    assert_no_traceback(project.run(*REPRO))
    assert "Running stage" not in project.run("dvc", "repro")
    after = project.contents()
    # A stage that runs again takes other seconds.
    timed = ("reports/train/history.csv", "reports/train/result.json")
    different = [name for name in before if before[name] != after[name] and name not in timed]
    assert different == [], f"different: {different}"


def _journals(templates: Templates, folder: Path, draw: Random, count: int) -> Iterator[Case]:
    searched = cache(partial(finished_search, templates, folder / "searched"))
    damages = {"half a line": half_a_line, **DAMAGES} | FOLDER
    for name in draw.sample(sorted(damages), min(count, len(damages))):
        place = draw.random()
        check = partial(check_journal, searched, damages[name], place)
        label = f"optuna.journal {name} at {place:.3f}: mnist12k tune"
        yield Case("damaged: optuna.journal", label, check)


def finished_search(templates: Templates, folder: Path) -> Path:
    """Create a finished search of two trials."""
    sizes = {"trials": 2, "finalists": 1, "finalist_budget": 8}
    tune_command.new_folder(folder, templates.idx_folder, **sizes)
    tune_command.run(folder, "tune")
    return folder


def check_journal(searched: Callable[[], Path], damage: Damage, place: float, folder: Path) -> None:
    """Search again with a damaged journal: it is repaired or named; the results are kept."""
    root = folder / "search"
    shutil.copytree(searched(), root, symlinks=True)
    journal = root / "optuna.journal"
    left = spoil(journal, damage, place)
    before = files_below(root / "reports/tune")
    with tune_command.start(root, "tune") as process:
        output, _ = process.communicate(timeout=120)
    assert_no_traceback(output)
    lines = output.splitlines()
    if process.returncode:
        assert process.returncode == 2, f"exit code {process.returncode}: {lines[-3:]}"
        assert len(lines) == 1, f"{len(lines)} lines: {lines[:3]}"
        assert "optuna.journal" in lines[0], lines[0]
        assert files_below(root / "reports/tune") == before
    elif left and not left.endswith(b"\n"):
        assert any(line.startswith(WARNING) and "optuna.journal" in line for line in lines), (
            f"no warning names optuna.journal: {lines[:3]}"
        )
