"""The version of this library, as it is installed."""

from importlib.metadata import version

__version__ = version("h36m-amass")
