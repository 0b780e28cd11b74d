"""Wrong params.yaml files: each is one line of error, at once, and changes no result."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import test_params
from project import ROOT
from ruamel.yaml import YAML
from workspace import inside

from faults.case import ERROR, Case, NotRunError, Outcome, assert_no_traceback, call, generator
from faults.templates import Templates, copy_complete, files_below
from mnist12k.files import read_yaml
from mnist12k.params import Params
from mnist12k.paths import PARAMS

SECONDS = 5  # within which the line must appear
ROW, ROW_PROCESS = "params.yaml is wrong", "params.yaml is wrong, in a process of its own"
COMMANDS = (
    *("fetch", "backprop", "train", "evaluate", "report", "publish", "seeds", "tune"),
    *("tune --apply", "tune-worker", "export", "doctor", "promote --version 1", "ui"),
)
TEXT = test_params.PARAMS
# Values that no key takes: one of another type, and numbers that are none.
IMPOSSIBLE: dict[str, Any] = {
    "a mapping": {"a": 1},
    "lists of lists": [[[1]]],
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "a huge number": 10**400,
}
# With more than one mistake, or a misspelt key, which also makes the right one missing.
SEVERAL = (
    *("half a file", "JSON of", "recipes has an unknown", "networks has an unknown"),
    *("'fetsh:'", "'bias: [0.35'"),
)
# Sections without defaults, each of whose keys is needed.
NEEDED = ("fetch", "evaluate", "publish", "seeds")

Write = Callable[[Path], None]  # puts something at the path of params.yaml


def content(data: bytes) -> Write:
    return lambda path: void(path.write_bytes(data))


def edited(old: str, new: str) -> Write:
    assert old in TEXT
    return content(TEXT.replace(old, new, 1).encode())


def with_value(keys: tuple[Any, ...], value: Any) -> Write:
    """Return the project's parameters with another value at a place; None: without the key."""
    tree = read_yaml(ROOT / PARAMS)
    place = tree
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    text = StringIO()
    YAML(typ="safe").dump(tree, text)
    return content(text.getvalue().encode())


def void(_: object) -> None:
    """Drop what a function returns."""


def leaves(tree: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value that is neither a mapping nor a list."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from leaves(value, (*keys, key))
    else:
        yield keys


def wrong_values(seed: int, per_key: int) -> Iterator[tuple[str, Write]]:
    """Yield every key of params.yaml with impossible values, drawn from the seed."""
    draw = generator(seed)
    tree = read_yaml(ROOT / PARAMS)
    for keys in leaves(tree):
        for name in draw.sample(sorted(IMPOSSIBLE), per_key):
            yield f"{'.'.join(map(str, keys))} is {name}", with_value(keys, IMPOSSIBLE[name])
    for section in tree:
        yield f"{section} is missing", with_value((section,), None)
        yield f"{section} is text", with_value((section,), "text")
        yield f"{section} has an unknown key", with_value((section, "unknown"), {"a": 1})
    for section in NEEDED:
        for key in tree[section]:
            yield f"{section}.{key} is missing", with_value((section, key), None)


def wrong_texts() -> Iterator[tuple[str, Write]]:
    """Yield files that are no YAML, or more than anybody has written by hand."""
    for number, (right, wrong, *_) in enumerate(parameters(test_params, "a_wrong_value_is")):
        yield f"wrong value {number}: {wrong.strip()[:40]!r}", edited(right, wrong)
    for number, (data, _) in enumerate(parameters(test_params, "a_file_that_cannot_be_params")):
        yield f"no parameters {number}: {data[:20]!r}", content(data)
    text = TEXT.encode()
    for name, data in {
        "a key twice": text + b"\nfetch: {}\n",
        "a nested key twice": text.replace(b"  seed: 1\n", b"  seed: 1\n  seed: 2\n", 1),
        "tabs": text.replace(b"  seed: 1", b"\tseed: 1", 1),
        "Latin-1": text + "# Größe\n".encode("latin-1"),
        "UTF-16": TEXT.encode("utf-16"),
        "UTF-32 without its mark": TEXT.encode("utf-32-le"),
        "a NUL": text.replace(b"seed: 1", b"seed: \0", 1),
        "a control character": text.replace(b"seed: 1", b"seed: \x07", 1),
        "half a file": text[: len(text) // 2],
        "half a file and half a character": text[: len(text) // 3] + b"\xc3",
        "two documents": text + b"---\n" + text,
        "a tag of Python": text.replace(b"seed: 1", b"seed: !!python/object/apply:os.abort []", 1),
        "an unknown tag": text.replace(b"seed: 1", b"seed: !mine 1", 1),
        "a tag with a wrong value": text.replace(b"seed: 1", b"seed: !!float abc", 1),
        "a set": text.replace(b"seed: 1", b"seed: !!set {1, 2}", 1),
        "an ordered mapping": text.replace(b"seed: 1", b"seed: !!omap [a: 1]", 1),
        "binary": text.replace(b"seed: 1", b"seed: !!binary aGVsbG8=", 1),
        "broken binary": text.replace(b"seed: 1", b"seed: !!binary '*'", 1),
        "a date": text.replace(b"seed: 1", b"seed: 2026-01-01", 1),
        "no date": text.replace(b"seed: 1", b"seed: 2026-02-31", 1),
        "a time": text.replace(b"seed: 1", b"seed: 2026-01-01T00:00:00Z", 1),
        "a number of 5000 digits": text.replace(b"seed: 1", b"seed: " + b"9" * 5000, 1),
        "an octal number of 5000 digits": text.replace(b"seed: 1", b"seed: 0o" + b"7" * 5000, 1),
        "1e400": text.replace(b"learning_rate: null", b"learning_rate: 1e400", 1),
        "an alias of nothing": text.replace(b"seed: 1", b"seed: *seed", 1),
        "an alias of itself": text + b"extra: &a [*a]\n",
        "a merge of nothing": text + b"extra: {<<: 1}\n",
        "a billion laughs": text + _laughs(30),
        "a billion laughs in mappings": text + _laughs(30, "{a: *a%d, b: *a%d}"),
        "1000 nested lists": text + b"extra: " + b"[" * 1000 + b"]" * 1000 + b"\n",
        "100,000 open lists": b"[" * 100_000,
        "100,000 open mappings": b"{a: " * 100_000,
        "1000 indented mappings": b"".join(b" " * n + b"a:\n" for n in range(1000)),
        "100,000 keys": b"".join(b"a%d: 1\n" % n for n in range(100_000)),
        "a line of a megabyte": text + b"extra: '" + b"x" * 1_000_000 + b"'\n",
        "a key of a complex type": text + b"? [a, b]\n: 1\n",
        "a key that is null": text + b"null: 1\n",
        "a key that is a number": text + b"1: 1\n",
        "JSON of something else": b'{"a": [1, 2, 3]}',
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10,
        "zeros": bytes(5000),
        "white space": b" \n \n",
        "a comment": b"# nothing\n",
        "a word": b"params\n",
        "a directive": b"%YAML 9.9\n---\n" + text[:100],
        "HTML": b"<!DOCTYPE html><html><body>404</body></html>\n",
        "a conflict of git": b"<<<<<<< HEAD\n" + text + b"=======\n" + text + b">>>>>>> other\n",
    }.items():
        yield name, content(data)


def wrong_kinds() -> Iterator[tuple[str, Write]]:
    """Yield what is no ordinary file, or a very large one."""
    yield "missing", lambda _: None
    yield "a folder", Path.mkdir
    yield "a link to itself", lambda path: path.symlink_to(path.name)
    yield "a link to nothing", lambda path: path.symlink_to("nothing.yaml")
    yield "a link to an endless device", lambda path: path.symlink_to("/dev/zero")
    yield "a link to an empty device", lambda path: path.symlink_to(os.devnull)
    yield "a pipe", _pipe
    yield "100 MB of comment", _long_comment
    yield "1 TB of zeros", _sparse


def _pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        raise NotRunError("this system has no named pipes")
    os.mkfifo(path)


def _long_comment(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"# " + b"x" * 999_997 + b"\n")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError as error:
            raise NotRunError(f"no file of 1 TB: {error.strerror}") from error


def _laughs(levels: int, pattern: str = "[*a%d, *a%d]") -> bytes:
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{n}: &a{n} " + pattern % (n - 1, n - 1) for n in range(1, levels)]
    return "\n".join([*lines, ""]).encode()


def parameters(module: Any, test: str) -> list[Any]:
    """Return the parameters of the test whose name starts so."""
    (name,) = [name for name in vars(module) if name.startswith(f"test_{test}")]
    (mark,) = [mark for mark in getattr(module, name).pytestmark if mark.name == "parametrize"]
    return list(mark.args[1])


def cases(templates: Templates, folder: Path, seed: int, per_key: int) -> Iterator[Case]:
    """Yield every wrong file, each with one command after another; some in their own process."""
    complete = copy_complete(templates.trained, folder / "complete")
    every = [*wrong_kinds(), *wrong_texts(), *wrong_values(seed, per_key)]
    for number, (name, write) in enumerate(every):
        command = COMMANDS[number % len(COMMANDS)]
        label = f"{name}: mnist12k {command}"
        lines = len(Params.model_fields) if any(part in name for part in SEVERAL) else 1
        yield Case(ROW, label, partial(check, complete, call_here, command, write, lines))
        if number % 16 == 0:
            own_process = partial(check, complete, start, "fetch", write, lines)
            yield Case(ROW_PROCESS, f"{name}: a process with mnist12k fetch", own_process)


def call_here(command: str) -> Outcome:
    return call(command.split(), limit=SECONDS)


def start(command: str) -> Outcome:
    """Run a command in a process of its own."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mnist12k", *command.split()],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    seconds = time.perf_counter() - started
    return Outcome(done.returncode, done.stdout, done.stderr, seconds)


def check(
    complete: Path,
    run: Callable[[str], Outcome],
    command: str,
    write: Write,
    most_lines: int,
    _: Path,
) -> None:
    """Put the file in place, run the command, and put everything back."""
    path, right = complete / PARAMS, (complete / PARAMS).read_bytes()
    before = {name: files_below(complete / name) for name in ("models", "reports")}
    path.unlink()
    try:
        write(path)
        with inside(complete):
            outcome = run(command)
    finally:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(right)
    after = {name: files_below(complete / name) for name in ("models", "reports")}
    assert_no_traceback(outcome.err + outcome.out)
    lines = outcome.err.splitlines()
    assert outcome.code == 2, f"exit code {outcome.code}: {lines[-3:]}"
    assert 1 <= len(lines) <= most_lines, f"{len(lines)} lines: {lines[:5]}"
    assert lines[0].startswith(ERROR), lines[0]
    for line in lines:
        assert "params.yaml" in line, line
        assert len(line) < 500, f"a line of {len(line)} characters"
    assert outcome.seconds < SECONDS, f"{outcome.seconds:.1f} seconds"
    assert before == after, "results have changed"
