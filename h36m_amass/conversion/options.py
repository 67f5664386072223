"""The options of a build: validated here, trusted after."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from h36m_amass.errors import H36mAmassError
from h36m_amass.recordings.resampling import exact_rate
from h36m_amass.recordings.subset import EVERYTHING, Subset
from h36m_amass.store.format import COMPRESSIONS

FRAME_RATE = 50.0
BATCH_SIZE, MIN_BATCH_SIZE, MAX_BATCH_SIZE = 4096, 2, 65536
MAX_FRAMES = 10_000_000
"""Default limit of frames per recording: a day at 120 Hz. A file with more is damaged or hostile."""
LOCAL_CLUSTER = "local"
"""In place of a Dask scheduler's URL: start one, with processes of this machine."""


class BuildError(H36mAmassError):
    """A build cannot start or cannot go on; a store that was there is as it was."""


@dataclass(frozen=True)
class BuildOptions:
    """How a store is built. None stands for an option that is not given: the default, or with `update` the store's.

    Attributes
    ----------
    support_dir
        Folder with ``body_models/`` and, unless `joint_regressor` says otherwise, ``J_regressor_h36m.npy``.
    joint_regressor
        A (K, V) regressor, see `h36m_amass.body.regressor.load`, or ``"skeleton"`` for the body model's kinematic
        joints; or several of them, each a joint set, see `h36m_amass.body.joint_sets.load_sources`.
    joint_names
        Text file with K names, see `h36m_amass.body.regressor.load`; ``NAME=FILE`` where there are several joint sets.
    vertex_map
        A (V, V') map for body models of V' vertices, where the regressor is for V, see
        `h36m_amass.body.regressor.load_map`.
    frame_rate
        Target frame rate in hertz; 50 if not given.
    native_rate
        Keep every frame, at each recording's frame rate.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or several GPUs that the workers take in turn,
        ``"cuda:0,cuda:1"`` or ``"cuda:all"``.
    batch_size
        Frames computed at a time, at most; 4096 if not given.
    workers
        Worker processes, 0 to convert in this one; None for one per core, or fewer where there is little to convert.
        Scripts that start processes need the usual ``if __name__ == "__main__":``.
    dask
        URL of a Dask scheduler whose workers convert, and see the same files; or ``"local"`` for a scheduler with
        `workers` processes of this machine. Needs the extra ``dask``.
    datasets
        Names of the datasets to convert, see `h36m_amass.datasets.choose`; all if empty.
    subset
        Which of their recordings to convert.
    use_dmpls
        Whether recordings with soft-tissue coefficients are converted with them; True if not given.
    upsample
        Whether recordings slower than the target frame rate are converted too, instead of skipped; False if not given.
    known_rates
        Whether recordings whose frame rate is known to be another one than their file says, see
        `h36m_amass.recordings.rates`, are converted at that; False if not given.
    frame_rates
        CSV file of frame rates that take the place of those in the files, see `h36m_amass.recordings.rates.load`; it
        counts before `known_rates`.
    compression
        ``"none"``, ``"lzf"`` or ``"gzip"``; ``"none"`` if not given.
    max_frames
        Longer recordings are skipped.
    overwrite
        Replace an existing store.
    update
        Add to an existing store what is new, and convert again what has changed.
    prune
        With `update`: remove from the store what is no longer among the inputs.
    skip_missing
        Skip recordings whose body model is missing, or does not fit the regressor, instead of ending the build.
    strict
        End the build at the first recording that would be skipped.
    report_file
        Where to write the report as JSON, too.

    Raises
    ------
    BuildError
        If an option has a value that no build can have, or two exclude each other.
    h36m_amass.recordings.resampling.FrameRateError
        If the frame rate is not a positive number.
    """

    support_dir: Path | str = "support_data"
    joint_regressor: Path | str | Sequence[Path | str] | None = None
    joint_names: Path | str | Sequence[Path | str] | None = None
    vertex_map: Path | str | None = None
    frame_rate: float | Fraction | None = None
    native_rate: bool = False
    device: str = "auto"
    batch_size: int | None = None
    workers: int | None = 0
    dask: str | None = None
    datasets: Sequence[str] = ()
    subset: Subset = EVERYTHING
    use_dmpls: bool | None = None
    upsample: bool | None = None
    known_rates: bool | None = None
    frame_rates: Path | str | None = None
    compression: str | None = None
    max_frames: int = MAX_FRAMES
    overwrite: bool = False
    update: bool = False
    prune: bool = False
    skip_missing: bool = False
    strict: bool = False
    report_file: Path | str | None = None

    def __post_init__(self) -> None:
        if self.frame_rate is not None:
            exact_rate(self.frame_rate)
        if self.native_rate and self.frame_rate is not None:
            raise BuildError("a frame rate and the native rate exclude each other; give one of them")
        if self.batch_size is not None and not MIN_BATCH_SIZE <= self.batch_size <= MAX_BATCH_SIZE:
            allowed = f"{MIN_BATCH_SIZE} to {MAX_BATCH_SIZE}, like {BATCH_SIZE}"
            raise BuildError(f"batch size {self.batch_size} is not allowed; give {allowed}")
        if self.workers is not None and self.workers < 0:
            allowed = "give 1 or more, or 0 to convert in this process"
            raise BuildError(f"{self.workers} workers are not possible; {allowed}")
        if self.compression not in (None, *COMPRESSIONS):
            raise BuildError(f"compression {self.compression!r} is unknown; choose from {', '.join(COMPRESSIONS)}")
        if self.max_frames < 1:
            raise BuildError(f"a maximum of {self.max_frames} frames allows no recording; give 1 or more")
        if self.overwrite and self.update:
            raise BuildError("--overwrite and --update exclude each other; give one of them")
        if self.prune and not self.update:
            raise BuildError("--prune removes recordings from a store that is updated; give it with --update")
        if self.dask not in (None, LOCAL_CLUSTER) and self.workers:
            reason = "a Dask scheduler has workers already; omit --workers, or use --dask local"
            raise BuildError(reason, self.dask)

    def stored(self) -> dict[str, Any]:
        """The options that a store keeps, under the store's names; those that are not given are omitted."""
        names = "use_dmpls", "upsample", "known_rates", "batch_size", "compression"
        options: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.native_rate or self.frame_rate is not None:
            options["frame_rate"] = None if self.frame_rate is None else str(exact_rate(self.frame_rate))
        return options

    def check_destination(self, store: Path) -> None:
        """Raise `BuildError` if no store can be written to `store`, or none can be replaced there."""
        report = None if self.report_file is None else Path(self.report_file)
        if not store.absolute().parent.is_dir():
            raise BuildError("its folder does not exist; make it first", store)
        if store.is_dir():
            raise BuildError(f"is a folder; give the name of a file, like {store / 'amass.h5'}", store)
        if not (self.overwrite or self.update) and store.exists():
            advice = "replace it with --overwrite, bring it up to date with --update, or give another name"
            raise BuildError(f"exists already; {advice}", store)
        if report is not None and (report.is_dir() or not report.absolute().parent.is_dir()):
            raise BuildError("is not a file that can be written; give a file in a folder that exists", report)
        if report is not None and os.path.realpath(report) == os.path.realpath(store):
            raise BuildError("is the store; give the report another name", report)
