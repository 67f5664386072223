"""What goes wrong with a store that is opened or read."""

from h36m_amass.errors import H36mAmassError


class StoreError(H36mAmassError):
    """A store cannot be opened, or lacks the requested data."""


class UnknownKeyError(StoreError, KeyError):
    """A store has no dataset, subject or sequence of that name."""

    __str__ = ValueError.__str__  # a KeyError shows its message in quotes
