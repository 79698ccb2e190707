"""The one error a user's input can raise."""


class InputError(ValueError):
    """Bad input, said in one line: what was expected, what came, what to do. Commands turn it into exit status 2."""
