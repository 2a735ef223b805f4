"""The one error that is the user's to mend; the command line prints it as a sentence and exits with 2."""


class InputError(ValueError):
    """Wrong input or arguments. The message names the file, row and column and says what was expected."""
