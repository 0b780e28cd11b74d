import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist12k.cnn.history import Epoch
from mnist12k.errors import UserError
from mnist12k.files import (
    all_or_none,
    atomic_write,
    read_json,
    read_table,
    remove_leftovers,
    write_json,
    write_table,
    write_text,
)
from mnist12k.outputs import EPOCH_COLUMNS, Record


class Metrics(Record):
    accuracy: float
    note: str | None = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "stage"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_in_a_table_are_read_back_bit_for_bit(folder: Path, values: list[float]) -> None:
    write_table(folder / "table.csv", pd.DataFrame({"value": values}))
    assert read_table(folder / "table.csv", {"value": float})["value"].tolist() == values


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_texts_in_a_table_are_read_back_the_same(folder: Path, values: list[str]) -> None:
    write_table(folder / "texts.csv", pd.DataFrame({"recipe": values}))
    assert read_table(folder / "texts.csv", {"recipe": str})["recipe"].tolist() == values


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("epoch,loss\n1,0.5\n2,0.", "the last line is incomplete"),
        ("epoch,loss\n1,\n", "column loss has an empty cell"),
        ("epoch\n1\n", "column loss is missing"),
        ("epoch,loss\n1.5,0.1\n", "column epoch has a number that is not whole"),
        ("epoch,loss\n1,low\n", "could not convert string to float"),
        ("epoch,loss\n1,0.1,7,8\n1,2\n", "damaged"),
        ("", "the last line is incomplete"),
        ("\n", "damaged"),
    ],
)
def test_a_damaged_table_is_one_line_with_file_reason_and_remedy(
    folder: Path, content: str, reason: str
) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "damaged.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="`mnist12k stage` rewrites it") as caught:
        read_table(path, {"epoch": int, "loss": float})
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_optional_column_may_have_empty_cells(folder: Path) -> None:
    table = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, None]})
    write_table(folder / "optional.csv", table)
    read = read_table(folder / "optional.csv", {"epoch": int, "loss": float}, optional=["loss"])
    assert read["epoch"].tolist() == [1, 2]
    assert read["loss"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "accuracy: Field required"),
        ('{"accuracy": NaN}', "accuracy: Input should be a finite number"),
        ('{"accuracy": "high"}', "accuracy: Input should be a valid number"),
        ("\0", "Invalid JSON"),
    ],
)
def test_damaged_json_is_one_line_with_file_reason_and_remedy(
    folder: Path, content: str, reason: str
) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "damaged.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="`mnist12k stage` rewrites it") as caught:
        read_json(path, Metrics)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_the_command_that_writes_it(folder: Path) -> None:
    for read in (lambda path: read_json(path, Metrics), lambda path: read_table(path, {})):
        with pytest.raises(UserError, match=r"absent is missing; `mnist12k stage` writes it"):
            read(folder / "absent")


def test_a_folder_in_place_of_a_file_is_one_line(folder: Path) -> None:
    (folder / "folder.json").mkdir(parents=True, exist_ok=True)
    with pytest.raises(UserError, match=r"folder.json cannot be read"):
        read_json(folder / "folder.json", Metrics)


def test_json_is_strict_and_omits_what_is_none(folder: Path) -> None:
    write_json(folder / "metrics.json", Metrics(accuracy=0.5))
    assert json.loads((folder / "metrics.json").read_text("utf-8")) == {"accuracy": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(folder / "metrics.json", {"accuracy": float("nan")})
    assert read_json(folder / "metrics.json", Metrics).accuracy == 0.5


def test_a_failed_write_leaves_the_file_as_it_was_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def interrupted() -> None:
        with atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_written_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("text")
    (tmp_path / "other").write_text("text")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_block_that_fails_replaces_no_file_and_leaves_no_other(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("old")

    def interrupted() -> None:
        with all_or_none():
            write_text(first, "new")
            assert first.read_text() == "old"
            write_text(second, "new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert first.read_text() == "old"


def test_a_block_that_succeeds_replaces_every_file_with_its_last_content(tmp_path: Path) -> None:
    with all_or_none():
        for text in ("one", "two"):
            write_text(tmp_path / "file", text)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["two"]


def test_leftovers_of_killed_processes_are_removed_and_those_of_live_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reports/study").mkdir(parents=True)
    script = """
import os
import subprocess
import sys
from pathlib import Path
from mnist12k.files import atomic_write, temporary_folder
with (
    atomic_write("reports/study/hill.png"),
    temporary_folder(Path("reports")) as folder,
    temporary_folder(Path()),
):
    (folder / "file").touch()
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    killed = [*Path().glob(".tmp-*"), *Path("reports").rglob(".tmp-*")]
    assert len(killed) == 3
    with atomic_write("reports/study/hill.png") as temporary:
        remove_leftovers([Path("reports")])
        assert temporary.exists()
    assert not [path for path in killed if path.exists()]
    assert [*Path("reports").rglob("*")] == [Path("reports/study"), Path("reports/study/hill.png")]


def test_leftovers_of_another_boot_are_removed_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new, old = Path(".tmp-abc-1-2_x.csv"), Path(".tmp-abc-1-2_y.csv")
    new.touch()
    old.touch()
    os.utime(old, (0, 0))
    remove_leftovers([])
    assert [*Path().iterdir()] == [new]


def test_the_columns_of_a_history_are_the_fields_of_an_epoch() -> None:
    kinds = Epoch.__annotations__.items()
    assert {name: int if kind is int else float for name, kind in kinds} == EPOCH_COLUMNS
