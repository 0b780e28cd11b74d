"""Tracking that may fail: whatever goes wrong with it, the pipeline goes on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from mnist12k.errors import UserError

T = TypeVar("T")


class Attempts:
    """Does what it is asked until something fails; then warns, once, and does no more."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, action: Callable[[], T]) -> T | None:
        """Return what `action` returns, or None where it or an earlier one failed."""
        if self.failed:
            return None
        try:
            return action()
        except Exception as error:  # whatever goes wrong with tracking, training goes on
            self.failed = True
            print(
                f"mnist12k: warning: tracking failed ({reason(error)}); "
                "`mnist12k publish` adds what is missing",
                file=sys.stderr,
                flush=True,
            )
            return None


@contextmanager
def tracking_errors_in_a_line() -> Iterator[None]:
    """Raise what a store or a server fails with as a UserError."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UserError(f"tracking failed ({reason(error)})") from error


def reason(error: Exception) -> str:
    """Return a line that says what went wrong with tracking."""
    if is_refused(error):
        return (
            "the server lets nobody in by this MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def is_refused(error: Exception) -> bool:
    """Tell whether a server answered that it does not know the user, or not by this password."""
    return isinstance(error, MlflowException) and error.error_code == "UNAUTHENTICATED"
