"""How messages and reports count, list and measure."""

from collections.abc import Iterable


def counted(number: int, plural: str) -> str:
    """A number and its noun, which is given in the plural and loses its last s if there is one."""
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"


def first_names(names: Iterable[str], limit: int = 5) -> str:
    """At most `limit` names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - limit:,} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def bytes_as_text(num_bytes: float) -> str:
    """Bytes in the largest unit that gives at least 1; a kB has 1000."""
    amount, unit = float(num_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
