"""The one kind of error that reaches the user without a traceback."""


class UserError(Exception):
    """An error the user can fix: printed as plain lines, exit code 2."""
