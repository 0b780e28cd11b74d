"""What a stage has written, read back for the page."""

import csv
import json
from pathlib import Path
from typing import Any

from mnist12k.errors import UserError

Table = list[dict[str, str]]


def read_table(path: Path) -> Table:
    """Return a CSV file's rows by its header; raise UserError if it is absent."""
    with _existing(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_figures(path: Path) -> dict[str, Any]:
    """Return a JSON file's object; raise UserError if it is absent."""
    found: dict[str, Any] = json.loads(_existing(path).read_text(encoding="utf-8"))
    return found


def column(rows: Table, name: str) -> list[float | None]:
    """Return one column's numbers, None for an empty cell."""
    return [float(row[name]) if row[name] else None for row in rows]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is absent; `dvc repro {path.parent.name}` makes it")
    return path
