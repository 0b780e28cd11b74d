"""Errors and warnings as users see them: one line, no traceback, no password."""

import re
import sys

# In the address of a server, and in its query; a password may itself hold an @.
PASSWORD = re.compile(r"(//[^/\s:@]*):\S*@|((?:password|passwd|token|secret)=)[^&\s'\"]*", re.I)


class UserError(Exception):
    """An error the user can fix: printed as plain lines, exit code 2."""


def without_passwords(text: str) -> str:
    """Return `text` with the passwords of addresses replaced by ***."""
    return PASSWORD.sub(lambda match: f"{match[1]}:***@" if match[1] else f"{match[2]}***", text)


def warn(message: str) -> None:
    """Print one warning line to standard error."""
    print(f"mnist12k: warning: {without_passwords(message)}", file=sys.stderr, flush=True)
