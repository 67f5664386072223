"""The fields of the viewer's panel that choose one sequence of a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from h36m_amass.store.selection import StoredSequence
from h36m_amass.store.store import Store
from h36m_amass.viewer import ViewerError

if TYPE_CHECKING:
    import viser

Names = tuple[str, str, str]  # of a dataset, a subject and a sequence


@dataclass(frozen=True)
class Catalogue:
    """Sequences to choose from, in the order of the store's index."""

    names: tuple[Names, ...]

    @classmethod
    def of(cls, store: Store) -> Catalogue:
        """All sequences of a store."""
        return cls(tuple(store.names(row) for row in range(len(store.sequences))))

    def matching(self, text: str) -> Catalogue:
        """Those in whose ``DATASET/SUBJECT/SEQUENCE`` each word of `text` is, in capitals or not."""
        words = text.casefold().split()
        return Catalogue(tuple(key for key in self.names if all(word in "/".join(key).casefold() for word in words)))

    def below(self, *above: str) -> tuple[str, ...]:
        """The datasets; with one of them, its subjects; with one of these, too, its sequences."""
        level = len(above)
        return tuple(dict.fromkeys(key[level] for key in self.names if key[:level] == above))

    def nearest(self, names: Names) -> Names:
        """The first sequence that shares most of `names`, from the dataset on."""
        return max(self.names, key=lambda key: sum(accumulate((a == b for a, b in zip(key, names, strict=True)), min)))


def catalogue(store: Store, text: str = "") -> Catalogue:
    """The sequences of `store` that match `text`; `ViewerError` if there are none."""
    matching = Catalogue.of(store).matching(text)
    if not matching.names:
        words = " and ".join(repr(word) for word in text.split())
        what = f"no sequence has {words} in its key; 'h36m-amass info' lists them" if words else "has no sequences"
        raise ViewerError(what, store.path)
    return matching


class Chooser:
    """The fields of the panel that choose one sequence."""

    def __init__(
        self, gui: viser.GuiApi, store: Store, text: str, begin: Names | None, chosen: Callable[[StoredSequence], None]
    ) -> None:
        """`begin` names the sequence that is chosen at first, or the nearest that the store has; None the first."""
        self._store, self._chosen = store, chosen
        self._all, self._matching = Catalogue.of(store), catalogue(store, text)
        names = self._matching.names[0] if begin is None else self._matching.nearest(begin)
        self.filter = gui.add_text("Filter", text, hint="Words that the sequence's key has in it")
        self.fields: list[viser.GuiDropdownHandle[str]] = [
            gui.add_dropdown(label, self._matching.below(*names[:level]), initial_value=names[level])
            for level, label in enumerate(("Dataset", "Subject", "Sequence"))
        ]
        sets = store.joint_sets
        self.joint_set = gui.add_dropdown("Joint set", sets, initial_value=store.joint_set.name, visible=len(sets) > 1)
        nothing = "<i style='padding: 0 1em'>No sequence has all of these words in its key.</i>"
        self.none = gui.add_html(nothing, visible=False)

    @property
    def names(self) -> Names:
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
        names = self._matching.nearest(self.names)
        for level, (field, name) in enumerate(zip(self.fields, names, strict=True)):
            options = self._matching.below(*names[:level])
            if field.options != options:
                field.options = options
            field.value = name  # type: ignore[misc] # mypy misses the setter, which does not follow its property
        self._chosen(self.sequence)

    def narrow(self) -> None:
        """Follow a change of the filter."""
        matching = self._all.matching(self.filter.value)
        self.none.visible = not matching.names
        if matching.names:
            self._matching = matching
            self.choose()

    def take_joint_set(self) -> None:
        """Follow a change of the joint set."""
        self._store = self._store.with_joint_set(self.joint_set.value)
        self._chosen(self.sequence)
