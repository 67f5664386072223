"""The stages of a long job, told to Python's logging as each ends, with the seconds that it took."""

from __future__ import annotations

import logging
import time


class Stages:
    """Measures from one stage's end to the next one's; the first begins now.

    Parameters
    ----------
    logger
        Of the module whose job it is. Nothing is shown unless the program asks for it, as `logging` documents:
        ``logging.basicConfig(level=logging.INFO)``, say.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._began = time.monotonic()

    def ended(self, message: str, *arguments: object) -> None:
        """Log what was done, in `logging`'s percent style."""
        now = time.monotonic()
        self._logger.info(f"{message} (%.2f s)", *arguments, now - self._began)
        self._began = now
