"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """Something the user can mend: one line that says what was wrong, where, and what to do.

    Entry points print it without a traceback and exit with code 1.
    """
