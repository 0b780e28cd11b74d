"""Errors and warnings as users see them: one line, no traceback, no password."""

import re
import sys
from contextlib import suppress

PASSWORD = re.compile(
    # In an address, up to its last @, or to where a message was cut off; not a port.
    r"(?P<user>//[^/\s:@\[]*:)(?:\S*@|(?!\d+\b)[^\s@]*(?:\.\.\.|$))"
    r"|(?P<slashes>//)[^/\s:@'\"]+@"  # a token in place of user and password
    r"|(?P<bare>\b[\w.+-]+:|['\"])[^\s/@:'\"]+@(?=[\w\[])"  # an address without a scheme
    # A value with a telling name, in a query or a list.
    r"|(?P<name>[\w.-]*(?:password|passwd|pwd|token|secret|api_?key|access_?key)[\w.-]*"
    r"(?:=|['\"]:\s*))(?:'[^']*'|\"[^\"]*\"|[^&\s'\",;)]+)",
    re.IGNORECASE,
)


class UserError(Exception):
    """An error the user can fix: printed as plain lines, exit code 2."""


def without_passwords(text: str) -> str:
    """Return `text` with the passwords and tokens of addresses and settings replaced by ***."""
    return PASSWORD.sub(_masked, text)


def warn(message: str) -> None:
    """Print one warning line to standard error."""
    with suppress(OSError):  # nobody can read it, which stops no command
        print(f"mnist12k: warning: {without_passwords(message)}", file=sys.stderr, flush=True)


def _masked(match: re.Match[str]) -> str:
    kept = match[str(match.lastgroup)]
    return f"{kept}***@" if "@" in match[0] and match.lastgroup != "name" else f"{kept}***"
