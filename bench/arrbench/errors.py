"""The errors that reach the command line as one clear line."""


def one_line(message: object) -> str:
    """A message or an error's text on one line."""
    return " ".join(str(message).split())


class UsageError(Exception):
    """The user's mistake: the message names the value, the place and what would be right.

    The command line prints it as one line and exits with status 2.
    """


class TrialError(Exception):
    """A trial, a plugin or a record that did not do what the contract asks; exit status 1."""
