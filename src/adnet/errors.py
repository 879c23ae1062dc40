"""The exception for users' mistakes."""


class UserError(Exception):
    """An error that the user can fix: one line that says what is wrong, where, and what to do.

    Entry points print it without a traceback and exit with code 1.
    """
