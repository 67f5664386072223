"""How far a long job is: for the caller as numbers, for Python's logging as lines."""

import logging
import time
from typing import Protocol


class Progress(Protocol):
    """What a long job calls to say how far it is."""

    def __call__(self, stage: str, done: int, total: int, name: str = "", /) -> None:
        """Take note of a stage, how much of it is done, how much there is, and the name of what was read last."""


def nothing(stage: str, done: int, total: int, name: str = "", /) -> None:
    """A `Progress` for a caller that does not ask."""


class Stages:
    """Measures from one stage's end to the next one's; the first begins now.

    Nothing is shown unless the program asks for it: ``logging.basicConfig(level=logging.INFO)``, say.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger, self._began = logger, time.monotonic()

    def ended(self, message: str, *arguments: object) -> None:
        """Log a stage that has ended, in `logging`'s percent style."""
        now = time.monotonic()
        self._logger.info(f"{message} (%.2f s)", *arguments, now - self._began)
        self._began = now
