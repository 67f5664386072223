"""Mutate files, and let the readers read them: any exception but their own is a failure. ``python -m tests.fuzz``.

The readers of npz and npy files, of recordings, regressors and pickles; and the reader of stores, whose footer is made
to fit again in every other case, so that the mutation reaches HDF5.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from h36m_amass.body import regressor
from h36m_amass.files.npy import NpzError, read_npy
from h36m_amass.files.npz import NpzReader
from h36m_amass.recordings import recording as amass
from h36m_amass.store import footer
from h36m_amass.store.errors import StoreError
from h36m_amass.store.store import Store
from h36m_amass.verification.store import verify
from tests.corpus.stores import write_store
from tests.scenes import recording
from tests.setup.downloads import pickles, read_pickle

EXAMPLES = 300
HANG_SECONDS = 60
_TELLING = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff" * 8,
    b"\0\0\0\x80",
    b"PK\5\6",
    b"-1",
    b"9" * 18,
]

Edits = list[tuple[str, float, int, bytes]]
edits: st.SearchStrategy[Edits] = st.lists(
    st.tuples(
        st.sampled_from(["overwrite", "overwrite", "overwrite", "insert", "delete", "repeat", "cut", "flip"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 64),
        st.one_of(st.sampled_from(_TELLING), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=6,
)


def mutated(content: bytes, changes: Edits) -> bytes:
    """`content` after `changes`, whose places are fractions of its length."""
    for kind, where, length, new in changes:
        at = int(where * len(content))
        before, after = content[:at], content[at:]
        if kind == "overwrite":
            content = before + new + after[len(new) :]
        elif kind == "insert":
            content = before + new + after
        elif kind == "delete":
            content = before + after[length:]
        elif kind == "repeat":
            content = before + after[:length] * 2 + after[length:]
        elif kind == "flip" and after:
            content = before + bytes([after[0] ^ (1 << length % 8)]) + after[1:]
        elif kind == "cut":
            content = before if length < 8 else content
    return content


class Fuzzer:
    """Good files, and what reads them.

    Parameters
    ----------
    folder
        To work in.
    """

    def __init__(self, folder: Path) -> None:
        self.target = folder / "mutated"
        arrays = recording(6)
        np.savez(folder / "plain.npz", **arrays)
        np.savez_compressed(folder / "compressed.npz", **arrays)
        np.savez(folder / "fortran.npz", **arrays | {"poses": np.asfortranarray(arrays["poses"])})
        np.save(folder / "dense.npy", np.eye(3, 30))
        scipy.sparse.save_npz(folder / "sparse.npz", scipy.sparse.csr_array(np.eye(3, 30)))
        write_store(folder / "store.h5")
        self.recordings = [(folder / f"{name}.npz").read_bytes() for name in ("plain", "compressed", "fortran")]
        self.regressors = {name: (folder / name).read_bytes() for name in ("dense.npy", "sparse.npz")}
        self.store = (folder / "store.h5").read_bytes()
        self.pickles = pickles()

    def fuzz_npz(self, number: int) -> None:
        """Mutated recordings and regressors."""

        @examples(number)
        @given(st.sampled_from(self.recordings), edits)
        def recordings(content: bytes, changes: Edits) -> None:
            self.target.write_bytes(mutated(content, changes))
            with suppress(amass.AmassError):
                amass.content_digest(self.target)
                with amass.Recording(self.target) as opened:
                    for _ in opened.frames(4, 8):
                        pass
            with suppress(NpzError), NpzReader(self.target) as npz:
                for name in npz.names():
                    with suppress(NpzError):
                        npz.read(name)

        @examples(number)
        @given(st.sampled_from(sorted(self.regressors)), edits)
        def regressors(name: str, changes: Edits) -> None:
            path = self.target.with_suffix(Path(name).suffix)
            path.write_bytes(mutated(self.regressors[name], changes))
            with suppress(regressor.RegressorError):
                regressor.load(path)
            with suppress(NpzError):
                read_npy(path)

        recordings()
        regressors()

    def fuzz_pickles(self, number: int) -> None:
        """Mutated pickles, as setup reads them."""

        @examples(number)
        @given(st.sampled_from(self.pickles), edits)
        def read(content: bytes, changes: Edits) -> None:
            read_pickle(mutated(content, changes))

        read()

    def fuzz_store(self, number: int) -> None:
        """Mutated stores."""

        @examples(number)
        @given(edits, st.booleans(), st.booleans())
        def stores(changes: Edits, new_footer: bool, in_head: bool) -> None:
            content = self.store[: -footer.LENGTH] if new_footer else self.store
            # HDF5 keeps at the beginning most of what it has to make sense of.
            end = 4096 if in_head else len(content)
            content = mutated(content[:end], changes) + content[end:]
            self.target.unlink(missing_ok=True)
            self.target.write_bytes(content)
            if new_footer:
                footer.write(self.target)
            with suppress(StoreError), Store(self.target) as store:
                for sequence in store.sequences:
                    sequence.positions_3d[:]

        @examples(number, EXAMPLES // 30)
        @given(edits)
        def verified(changes: Edits) -> None:
            self.target.unlink(missing_ok=True)
            # With its old footer: views are looked at once that agrees, as HDF5 hangs on some damage to theirs.
            self.target.write_bytes(mutated(self.store, changes))
            verify(self.target)

        stores()
        verified()


def examples(number: int, count: int = EXAMPLES) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run a property on `count` examples of this seed; each may take its time but not hang."""

    def decorate(test: Callable[..., None]) -> Callable[[], None]:
        chosen = settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        run: Callable[[], None] = seed(number)(chosen(test))
        return run

    return decorate


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        for fuzzes in ((fuzzer.fuzz_npz, fuzzer.fuzz_store), (fuzzer.fuzz_pickles,)):
            rounds, end = 0, time.monotonic() + options.seconds
            while time.monotonic() < end:
                for fuzz in fuzzes:
                    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
                    fuzz(options.seed + rounds)
                    faulthandler.cancel_dump_traceback_later()
                rounds += 1
                print(f"\r{rounds} rounds of {' and '.join(fuzz.__name__ for fuzz in fuzzes)}", end="", flush=True)
            print(f"\nok: only their own errors, seeds {options.seed} to {options.seed + rounds - 1}")


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main())
