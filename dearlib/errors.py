"""The one error a user's input can raise."""


class InputError(ValueError):
    """Bad input, said in one line: what was expected, what came, what to do. Commands turn it into exit status 2.

    It is one line whatever came: what cannot be printed (a line break in a file's key) is shown as its escape.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))
