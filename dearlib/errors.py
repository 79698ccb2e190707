"""The one error a user's input can raise, and what the operating system refuses, said in the same way."""

import errno

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # full, over a quota, over a limit, read-only


class InputError(ValueError):
    """Bad input, said in one line: what was expected, what came, what to do. Commands turn it into exit status 2.

    It is one line whatever came: what cannot be printed (a line break in a file's key) is shown as its escape.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def refused(error: OSError) -> InputError | None:
    """What the operating system refused and no command has a better line for; None where nothing says what it was about."""
    if error.errno in UNWRITABLE:
        return InputError(f"{error.filename or 'output'}: could not be written ({error.strerror}); make room or choose another place")
    if error.filename is None:
        return None
    got = error.strerror or error
    return InputError(f"{error.filename}: expected a path that can be used, got '{got}'; correct it, or its permissions")
