"""The command line ``h36m-amass``: one file per command, no logic of its own."""

from .main import app

__all__ = ["app"]
