"""The command line ``h36m-amass``: one file a command, no logic of its own."""

from .main import app

__all__ = ["app"]
