"""Tracking that may fail: whatever goes wrong with it, the pipeline goes on."""

import os
import sys
from collections.abc import Callable
from typing import TypeVar

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
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            store = os.environ.get("MLFLOW_TRACKING_URI", "mlflow.db")
            print(
                f"mnist12k: warning: tracking in {store} failed ({reason}); "
                "`mnist12k publish` adds what is missing",
                file=sys.stderr,
                flush=True,
            )
            return None
