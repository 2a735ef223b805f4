"""Errors that the command line prints as one sentence: what the user can mend (exit 2), a failing service (exit 1)."""


class InputError(ValueError):
    """Wrong input or arguments. The message names the file, row and column and says what was expected."""


class ServiceError(ConnectionError):
    """A server or a worker that gr2 asked failed. What was answered is kept: the same command goes on from there."""
