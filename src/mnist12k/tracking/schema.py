"""Whether a SQLite store has the schema of the installed MLflow."""

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
from alembic.script import ScriptDirectory

REVISIONS = Path(mlflow.__file__).parent / "store/db_migrations"


def schema_age(database: Path) -> str:
    """Return "an older", "a newer" or "the same", as its MLflow is to the installed one.

    The file is only read. MLflow, connecting, migrates some stores without a word.
    """
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as store:
        (revision,) = store.execute("SELECT version_num FROM alembic_version").fetchone()
    known = ScriptDirectory(str(REVISIONS))
    if revision == known.get_current_head():
        return "the same"
    former = {script.revision for script in known.walk_revisions()}
    return "an older" if revision in former else "a newer"
