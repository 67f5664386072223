"""The root of everything that this library raises on purpose: ``except H36mAmassError`` catches all of it."""


class H36mAmassError(ValueError):
    """Something that a user can mend; the message says what is wrong and what to do, on one line.

    Parameters
    ----------
    reason
        What is wrong, with the value, and what to do.
    path
        The file, folder or URL that it is about; the message begins with it.

    Attributes
    ----------
    reason, path
        As given; `path` is None where the message names no file, or has it within.
    """

    def __init__(self, reason: str, path: object = None) -> None:
        super().__init__(reason if path is None else f"{path}: {reason}")
        self.reason = reason
        self.path = path
