"""How far a long job is: for the caller as numbers, for Python's logging as lines."""

import logging
import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done and how much there is."""


def nothing(stage: str, done: int, total: int) -> None:
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
