"""Pictures and animations of poses (extra ``plot``)."""

from h36m_amass.errors import H36mAmassError


class PlotError(H36mAmassError):
    """A picture cannot be drawn."""


def require_matplotlib() -> None:
    """Raise `PlotError` unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401 # an import is the test
    except ImportError as error:
        install = "pip install 'h36m-amass[plot]'"
        raise PlotError(f"pictures need matplotlib, which is not installed; install it with: {install}") from error
