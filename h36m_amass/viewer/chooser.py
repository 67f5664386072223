"""The fields of the viewer's panel that choose one sequence of a store."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import TYPE_CHECKING

from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.viewer import ViewerError

if TYPE_CHECKING:
    import viser


@dataclass(frozen=True)
class Catalogue:
    """Sequences to choose from, by dataset, subject and sequence.

    Attributes
    ----------
    names
        The three names of each, in the order of the store's index.
    """

    names: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, store: Store) -> Catalogue:
        """All sequences of a store."""
        return cls(tuple(store.names(row) for row in range(len(store.sequences))))

    def matching(self, text: str) -> Catalogue:
        """Those in whose ``DATASET/SUBJECT/SEQUENCE`` each word of `text` is, in capitals or not."""
        words = text.casefold().split()
        return Catalogue(tuple(key for key in self.names if all(word in "/".join(key).casefold() for word in words)))

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(dataset for dataset, _, _ in self.names))

    def subjects(self, dataset: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key[1] for key in self.names if key[0] == dataset))

    def sequences(self, dataset: str, subject: str) -> tuple[str, ...]:
        return tuple(key[2] for key in self.names if key[:2] == (dataset, subject))

    def nearest(self, names: tuple[str, str, str]) -> tuple[str, str, str]:
        """The first sequence that shares most of `names`, from the dataset on."""
        return max(self.names, key=lambda key: _agreement(key, names))


def _agreement(one: Ordered[str], other: Ordered[str]) -> int:
    """How many names are the same before the first that differs."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def catalogue(store: Store, text: str = "") -> Catalogue:
    """The sequences of `store` that match `text`.

    Raises
    ------
    ViewerError
        If none does.
    """
    matching = Catalogue.of(store).matching(text)
    if not matching.names:
        words = " and ".join(repr(word) for word in text.split())
        what = f"no sequence has {words} in its key; 'h36m-amass info' lists them" if words else "has no sequences"
        raise ViewerError(what, store.path)
    return matching


class Chooser:
    """The fields of the panel that choose one sequence."""

    def __init__(
        self,
        gui: viser.GuiApi,
        store: Store,
        text: str,
        begin: tuple[str, str, str] | None,
        chosen: Callable[[StoredSequence], None],
    ) -> None:
        """`begin` names the sequence that is chosen at first, or the nearest that the store has; None the first."""
        self._store, self._chosen = store, chosen
        self._all, self._matching = Catalogue.of(store), catalogue(store, text)
        names = self._matching.names[0] if begin is None else self._matching.nearest(begin)
        self.filter = gui.add_text("Filter", text, hint="Words that the sequence's key has in it")
        self.fields: list[viser.GuiDropdownHandle[str]] = [
            gui.add_dropdown(label, options, initial_value=name)
            for label, options, name in zip(
                ("Dataset", "Subject", "Sequence"), self._options(names), names, strict=True
            )
        ]
        self.joint_set = gui.add_dropdown(
            "Joint set", store.joint_sets, initial_value=store.joint_set.name, visible=len(store.joint_sets) > 1
        )
        self.none = gui.add_html(
            "<i style='padding: 0 1em'>No sequence has all of these words in its key.</i>", visible=False
        )

    @property
    def names(self) -> tuple[str, str, str]:
        """Dataset, subject and sequence that are chosen."""
        dataset, subject, sequence = (field.value for field in self.fields)
        return dataset, subject, sequence

    @property
    def sequence(self) -> StoredSequence:
        """The one that is chosen."""
        sequence: StoredSequence = self._store["/".join(self.names)]
        return sequence

    def choose(self) -> None:
        """Follow a change of dataset, subject or sequence."""
        self._take(self._matching.nearest(self.names))

    def narrow(self) -> None:
        """Follow a change of the filter."""
        matching = self._all.matching(self.filter.value)
        self.none.visible = not matching.names
        if matching.names:
            self._matching = matching
            self._take(matching.nearest(self.names))

    def take_joint_set(self) -> None:
        """Follow a change of the joint set."""
        self._store = self._store.with_joint_set(self.joint_set.value)
        self._chosen(self.sequence)

    def _options(self, names: tuple[str, str, str]) -> tuple[tuple[str, ...], ...]:
        matching = self._matching
        return matching.datasets, matching.subjects(names[0]), matching.sequences(names[0], names[1])

    def _take(self, names: tuple[str, str, str]) -> None:
        for field, options, name in zip(self.fields, self._options(names), names, strict=True):
            if field.options != options:
                field.options = options
            field.value = name  # type: ignore[misc] # mypy misses the setter, which does not follow its property
        self._chosen(self.sequence)
