"""A store's poses in the browser (extra ``view``)."""

from h36m_amass.errors import H36mAmassError


class ViewerError(H36mAmassError):
    """There is nothing to show, or nothing to show it with."""


def require_viser() -> None:
    """Raise `ViewerError` unless viser is installed."""
    try:
        import viser  # noqa: F401 # an import is the test
    except ImportError as error:
        install = "pip install 'h36m-amass[view]'"
        raise ViewerError(f"the viewer needs viser, which is not installed; install it with: {install}") from error
