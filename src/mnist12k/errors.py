"""The one error that is the user's to mend."""


class UserError(Exception):
    """What the user can put right: told in plain lines, exit code 2, never a traceback."""
