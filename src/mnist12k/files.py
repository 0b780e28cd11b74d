"""Atomic writes, and the only readers of YAML, JSON and CSV."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import YAMLError

from mnist12k.errors import UserError
from mnist12k.processes import is_gone, this_process

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")

TEMPORARY = ".tmp-"  # ignored by git and DVC
DAY = 86_400  # seconds

# Far more than params.yaml and dvc.lock need, and read within seconds.
YAML_BYTES, YAML_DEPTH, YAML_VALUES = 1 << 17, 20, 20_000

# Within `all_or_none`: files to replace, and by what; None: to remove.
_waiting: dict[Path, Path | None] | None = None


class Section(BaseModel):
    """A section of params.yaml: immutable, no unknown key, no silent conversion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds.

    Within `all_or_none`, rename it when that block ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(path.suffix, _temporary_prefix(), path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private to the user
        if _waiting is None:
            temporary.replace(path)
        else:
            _waiting[path] = temporary.replace(_waiting.get(path) or temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def all_or_none() -> Iterator[None]:
    """Replace and remove files when the block ends; if it fails, leave all as they are."""
    global _waiting
    written = _waiting = {}
    try:
        yield
        for path, temporary in written.items():
            if temporary is None:
                path.unlink(missing_ok=True)
            else:
                temporary.replace(path)
    finally:
        _waiting = None
        for temporary in filter(None, written.values()):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it exists; within `all_or_none`, when that block ends."""
    if _waiting is None:
        path.unlink(missing_ok=True)
    else:
        _waiting[path] = None


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder in `parent`, on the same file system; remove it at the end."""
    with tempfile.TemporaryDirectory(prefix=_temporary_prefix(), dir=parent) as folder:
        yield Path(folder)


def is_temporary(path: Path) -> bool:
    """Return whether `path` is being written: such files are in no digest and no artifact."""
    return path.name.startswith(TEMPORARY)


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what killed processes left in the current folder, and anywhere in `folders`."""
    found = [path for folder in folders for path in folder.rglob(f"{TEMPORARY}*")]
    for path in [*Path().glob(f"{TEMPORARY}*"), *found]:
        process = path.name.removeprefix(TEMPORARY).partition("_")[0]
        with contextlib.suppress(OSError):
            # Nothing is written for a day; the process may have run before a restart.
            if is_gone(process) or time.time() - path.stat().st_mtime > DAY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 with the same line endings on every platform, so that digests agree."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any] | BaseModel) -> None:
    """Write strict JSON (NaN is an error), indented; a model's fields that are None are omitted."""
    if isinstance(content, BaseModel):
        content = content.model_dump(exclude_none=True)
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_table(path: str | os.PathLike[str], table: "DataFrame") -> None:
    """Write CSV with a header and without the index; floats are read back bit for bit."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_json(path: Path, content: type[T]) -> T:
    """Return a JSON file validated as `content`: a pydantic model, or a dict of them.

    Raises UserError if the file is missing, is not JSON, or has other content.
    """
    try:
        return TypeAdapter(content).validate_json(_read(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise damaged(path, f"{key}: {first['msg']}" if key else first["msg"]) from error


def read_table(
    path: Path, columns: Mapping[str, type], optional: Collection[str] = ()
) -> "DataFrame":
    """Return a CSV file as a DataFrame; `columns` maps the names it must have to int, float or str.

    Only `optional` columns may have empty cells. Further columns are kept as pandas reads them.
    Raises UserError if the file is missing, truncated, or has other content.
    """
    import pandas as pd  # slow to import, and not needed by every command

    content = _read(path)
    if not content.endswith(b"\n"):
        raise damaged(path, "the last line is incomplete")
    try:
        table = pd.read_csv(
            BytesIO(content),
            dtype={name: float if kind is int else kind for name, kind in columns.items()},
            keep_default_na=False,
            na_values=[""],
            skip_blank_lines=False,  # a line of spaces may be a text
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise damaged(path, str(error)) from error
    if missing := [name for name in columns if name not in table]:
        raise damaged(path, f"column {missing[0]} is missing")
    for name, kind in columns.items():
        if name not in optional and table[name].isna().any():
            raise damaged(path, f"column {name} has an empty cell")
        if kind is int:
            whole = table[name].dropna()
            if (whole != whole.round()).any():
                raise damaged(path, f"column {name} has a number that is not whole")
            table[name] = table[name].astype("Int64" if name in optional else "int64")
    return table


def read_yaml(path: Path) -> Any:
    """Return a YAML 1.2 file's content, read as DVC reads it: `1e-3` is a number.

    Raises UserError if the file is missing, is not YAML, or is too large to be parameters.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"{path} is not a file")
    try:
        if path.stat().st_size > YAML_BYTES:
            raise UserError(f"{path} is larger than {YAML_BYTES:,} bytes")
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = YAML_DEPTH  # a thousand levels would take seconds
        content = yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not YAML: not UTF-8 text") from error
    except MaxDepthExceededError as error:
        raise UserError(f"{path}: is nested too deeply: more than {YAML_DEPTH} levels") from error
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path}:{line} is not YAML: {problem}") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:  # of a tag or a date
        raise UserError(f"{path}: a value is impossible: {error}") from error
    _require_a_tree(path, content)
    return content


def _require_a_tree(path: Path, content: Any) -> None:
    """Raise UserError if aliases make the content endless, or far larger than its text."""
    stack, values = [content], 0
    while stack:
        value = stack.pop()
        values += 1
        if values > YAML_VALUES:
            raise UserError(f"{path}: more than {YAML_VALUES:,} values")
        if isinstance(value, dict):
            stack += [each for item in value.items() for each in item]
        elif isinstance(value, list | set | tuple):
            stack += value


def damaged(path: Path, reason: str) -> UserError:
    """Return the error for a file with unexpected content."""
    reason = " ".join(reason.split())[:200]
    return UserError(f"{path} is damaged ({reason}); {_remedy(path)} rewrites it")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {_remedy(path)} writes it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _remedy(path: Path) -> str:
    """Return what writes a file: each stage has the name of its folder, each benchmark its own."""
    if path.parent.name == "benchmarks":
        return f"`python {path.with_suffix('.py')}`"
    return f"`mnist12k {path.parent.name}`"


def _temporary_prefix() -> str:
    return f"{TEMPORARY}{this_process()}_"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
