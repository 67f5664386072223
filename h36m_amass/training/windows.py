"""Windows of a fixed length over the sequences of a store, for torch's dataloaders."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import index
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from h36m_amass.datasets import HUMAN36M, HUMAN36M_SUBJECTS
from h36m_amass.errors import H36mAmassError
from h36m_amass.skeleton import joint_order as resolve_joint_order
from h36m_amass.store.selection import Selection
from h36m_amass.store.store import DatasetView, Store, SubjectView

Padding = Literal["none", "edge", "zero"]
Batch = dict[str, Tensor]  # windows by what is known of them; the first axis of each tensor counts the windows
_Frames: TypeAlias = Float32[np.ndarray, "windows length joints axes"]
_Numbers: TypeAlias = Int[np.ndarray, "windows"]
ROWS_AT_ONCE = 2**18  # of a store, that are read together to be shared among windows: some 50 MB


class WindowError(H36mAmassError):
    """The requested windows do not exist."""


class WindowDataset(Dataset[Batch]):
    """Windows of `length` frames, each within one sequence.

    An item is a dictionary of tensors:

    - ``positions_3d`` (length, joints, 3), metres, AMASS's world frame;
    - ``mask`` (length,), true where a frame is one of the sequence's and false where it is padding;
    - ``sequence`` (), the row of the sequence in the store's index: ``store[row]``;
    - ``start`` (), the frame of the sequence that the window begins with, negative where it begins with padding;
    - ``subject`` (), if the store has Human3.6M: the subject's row in `h36m_amass.training.cameras.SUBJECTS`, or -1 for
      sequences of other datasets. `h36m_amass.training.projection.Project` finds the subject's own cameras by it;
    - ``detections_2d`` (length, cameras, joints, 2), with `detections`: a detector's joints in the images of each of
      the store's `cameras`, in pixels; NaN where there are none.

    A dataloader gets a whole batch at once if it is given `collate`::

        DataLoader(WindowDataset(store, 81), batch_size=256, shuffle=True, collate_fn=collate, num_workers=2)

    It may be pickled, forked and spawned, and read by many threads at once. What changes windows belongs into
    `transform`: a dataloader calls `__getitems__`, and never the `__getitem__` of a subclass.

    Without padding, windows start at frames ``0, stride, 2 stride, ...`` and end within their sequence; a sequence that
    is shorter than a window has none. With padding there is a window around each of these frames, which is the
    window's frame ``(length - 1) // 2``; what lies outside of the sequence is filled with the nearest frame that the
    window has of it (``"edge"``), or with zeros.

    For an odd `length` this is what VideoPose3D (Pavllo et al., CVPR 2019; edge padding, its stride 1) and
    uplift-upsample (Einfalt et al., WACV 2023; its ``subsample`` is `stride`, its ``"copy"`` is ``"edge"``) do. It
    differs where they do: VideoPose3D, when it is to predict more than one frame at a time, cuts a sequence into
    chunks that lie centred in it. For an even `length` uplift-upsample centres the window between two frames; with a
    dilation above 1 the frame in question is then not in its own window, and here it always is.

    Parameters
    ----------
    sequences
        A store, or several as `Stores`, one of its datasets or subjects, or what `Store.select` and `Store.split` give.
    length
        Frames of a window.
    stride
        Frames of the sequence from one window to the next.
    dilation
        Frames of the sequence from one frame of a window to the next.
    padding
        ``"none"``, ``"edge"`` or ``"zero"``.
    joint_order
        One of `h36m_amass.skeleton.JOINT_ORDERS`.
    detections
        Read the store's detections, too; padding is as that of the positions.
    dtype
        Of the positions; transforms get them in it. Detections stay float32: half precision rounds pixels to wholes.
    transform
        Called with each batch, a dictionary as above with an axis for windows in front; an item is a batch of one.

    `skeleton` says what the joints are, in their order here; `too_short` are the sequences that have no window. Raises
    `WindowError` if a number is less than 1, the padding is unknown, there is no window at all, or no detections, and
    `h36m_amass.skeleton.SkeletonError` if the joint order does not fit the store's joints.
    """

    def __init__(
        self,
        sequences: Store | DatasetView | SubjectView | Selection,
        length: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        padding: Padding = "none",
        joint_order: str = "regressor",
        detections: bool = False,
        dtype: torch.dtype = torch.float32,
        transform: Callable[[Batch], Batch] | None = None,
    ) -> None:
        numbers = {"length": length, "stride": stride, "dilation": dilation}
        length, stride, dilation = (_number_of_frames(name, value) for name, value in numbers.items())
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise WindowError(f"dtype {dtype} cannot hold positions; choose a floating one of torch's")
        if padding not in get_args(Padding):
            raise WindowError(f"padding {padding!r} is unknown; choose from {', '.join(get_args(Padding))}")
        self.sequences = sequences if isinstance(sequences, Selection) else sequences.sequences
        self._store = store = self.sequences.store
        self.length, self.dilation, self.stride, self.padding, self.dtype = length, dilation, stride, padding, dtype
        self.transform = transform
        self.skeleton = store.skeleton_in(joint_order)
        order = resolve_joint_order(joint_order, store.skeleton)
        self._order = None if order == tuple(range(len(order))) else torch.tensor(order)
        self.cameras = store.cameras if detections else ()
        if detections and not self.cameras:
            raise WindowError("has no detections; import them with h36m-amass import-h36m", store.shown_path)
        self._subjects = _subjects(store)
        frames = store.index.lengths[self.sequences.rows]
        extent = (length - 1) * dilation + 1
        room = np.maximum(frames - extent + 1, 0) if padding == "none" else frames
        windows = -(-room // stride)
        self.too_short = Selection(store, self.sequences.rows[windows == 0])
        if not len(frames):
            raise WindowError("no sequences are selected; select some", store.shown_path)
        if not windows.any():
            reason = f"no window of {extent} frames fits into any of {len(frames):,} sequences; the longest has"
            raise WindowError(f"{reason} {frames.max()}; use shorter windows or padding='edge'", store.shown_path)
        # The frame of a window that lies at a multiple of the stride.
        self._anchor = 0 if padding == "none" else (length - 1) // 2
        self._ends = np.cumsum(windows)
        rows = self.sequences.rows
        self._lists = tuple(a.tolist() for a in (self._ends, rows, frames, store.index.starts[rows]))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def datasets(self) -> dict[str, Int[Tensor, "windows"]]:
        """The numbers of the windows of each dataset that has any."""
        names = [self._store.names(row)[0] for row in self.sequences.rows.tolist()]
        rows = {name: row for row, name in enumerate(dict.fromkeys(names))}
        of_windows = np.repeat([rows[name] for name in names], np.diff(self._ends, prepend=0))
        numbers = {name: torch.from_numpy(np.flatnonzero(of_windows == row)) for name, row in rows.items()}
        return {name: those for name, those in numbers.items() if len(those)}

    def __getitem__(self, number: int) -> Batch:
        """One window, as a dictionary of tensors."""
        item = self._fetch_one(number)
        if self.transform is None:
            return item
        batch = self.transform({name: values[None] for name, values in item.items()})
        return {name: values[0] for name, values in batch.items()}

    def __getitems__(self, numbers: Iterable[int]) -> WindowBatch:
        """Many windows, read in the order in which they lie in the file."""
        checked = np.array([index(number) for number in numbers], dtype=np.int64)
        outside = checked[(checked < -len(self)) | (checked >= len(self))]
        if len(outside):
            raise IndexError(f"there are {len(self)} windows, and no number {outside[0]}")
        batch = self._fetch(np.where(checked < 0, checked + len(self), checked))
        return WindowBatch(batch if self.transform is None else self.transform(batch))

    def __repr__(self) -> str:
        how = f"(stride {self.stride}, dilation {self.dilation}, padding {self.padding})"
        what = f"{len(self.sequences):,} sequences of {self._store.shown_path}"
        return f"<{len(self):,} windows of {self.length} frames {how} of {what}>"

    def _fetch_one(self, number: int) -> Batch:
        """What `_fetch` gives, in plain numbers: arrays of one number would take several times as long."""
        number = index(number)  # NumPy's short integers would overflow
        ends, rows, lengths, first_rows = self._lists
        if not -ends[-1] <= number < ends[-1]:
            raise IndexError(f"there are {ends[-1]} windows, and no number {number}")
        number = number + ends[-1] if number < 0 else number
        if self.cameras:
            return {name: values[0] for name, values in self._fetch(np.array([number])).items()}
        which = bisect_right(ends, number)
        start = (number - (ends[which - 1] if which else 0)) * self.stride - self._anchor * self.dilation
        low, high = self._inside(start, lengths[which], min)
        positions = np.empty((1, self.length, len(self.skeleton), 3), np.float32)
        first_row = first_rows[which] + start + low * self.dilation
        if self.dilation == 1:
            self._store.read_into(first_row, positions[0, low:high])
        else:
            span = self._store.read(first_row, first_row + (high - low - 1) * self.dilation + 1)
            positions[0, low:high] = span[:: self.dilation]
        mask = torch.ones(self.length, dtype=torch.bool)
        if high - low < self.length:
            mask[:low] = mask[high:] = False
            self._pad(positions, np.array([low]), np.array([high]))
        item = {
            "positions_3d": self._arranged(torch.from_numpy(positions))[0].to(self.dtype),
            "mask": mask,
            "sequence": torch.scalar_tensor(rows[which], dtype=torch.int64),
            "start": torch.scalar_tensor(start, dtype=torch.int64),
        }
        if self._subjects is not None:
            item["subject"] = torch.scalar_tensor(self._subjects.item(rows[which]), dtype=torch.int64)
        return item

    def _inside(self, start: Any, num_frames: Any, minimum: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
        """Which frames ``low .. high`` of windows are within; single numbers with `min`, arrays with `np.minimum`."""
        stop = (num_frames - 1 - start) // self.dilation + 1
        return -(minimum(start, 0) // self.dilation), minimum(stop, self.length)

    def _arranged(
        self, positions: Float32[Tensor, "windows length joints axes"]
    ) -> Float32[Tensor, "windows length joints axes"]:
        """In the requested joint order."""
        if self._order is not None:
            # Over joints and coordinates in one axis it is much faster than over joints alone.
            axes = positions.shape[-1]
            columns = (axes * self._order[:, None] + torch.arange(axes)).view(-1)
            positions = positions.view(-1, len(columns)).index_select(1, columns).view(positions.shape)
        return positions

    def _fetch(self, numbers: _Numbers) -> Batch:
        which = np.searchsorted(self._ends, numbers, side="right")
        before = np.where(which > 0, self._ends[which - 1], 0)
        rows = self.sequences.rows[which]
        starts = (numbers - before) * self.stride - self._anchor * self.dilation
        low, high = self._inside(starts, self._store.index.lengths[rows], np.minimum)
        first_rows = self._store.index.starts[rows] + starts + low * self.dilation

        def frames(num_axes: int, read_runs: Callable[..., None]) -> Float32[Tensor, "windows length joints axes"]:
            # NumPy asks for huge pages, and torch does not: without them the system clears page after page as it reads.
            values = np.empty((len(numbers), self.length, len(self.skeleton), num_axes), np.float32)
            self._read(values, read_runs, first_rows, low, high)
            self._pad(values, low, high)
            return self._arranged(torch.from_numpy(values))

        offsets = np.arange(self.length)
        batch = {
            "positions_3d": frames(3, self._store.read_runs).to(self.dtype),
            "mask": torch.from_numpy((offsets >= low[:, None]) & (offsets < high[:, None])),
            "sequence": torch.from_numpy(rows),
            "start": torch.from_numpy(starts),
        }
        if self._subjects is not None:
            batch["subject"] = torch.from_numpy(self._subjects[rows])
        if self.cameras:
            detected = [frames(2, partial(self._store.read_runs, camera=camera)) for camera in self.cameras]
            batch["detections_2d"] = torch.stack(detected, dim=2)
        return batch

    def _read(
        self, values: _Frames, read_runs: Callable[..., None], first_rows: _Numbers, low: _Numbers, high: _Numbers
    ) -> None:
        """Fill in the frames that are in the file; windows that overlap are read together."""
        end_rows = first_rows + (high - low - 1) * self.dilation + 1
        order = np.argsort(first_rows, kind="stable")
        firsts, furthest = first_rows[order], np.maximum.accumulate(end_rows[order])
        # Windows overlap in chains; a chain begins where all before have ended.
        begins = np.flatnonzero(np.concatenate([[True], firsts[1:] >= furthest[:-1]])[: len(order)])
        sizes = np.diff(begins, append=len(order))
        alone = begins[sizes == 1] if self.dilation == 1 else begins[:0]
        windows = order[alone]
        flat = values.reshape(-1, *values.shape[2:])
        read_runs(firsts[alone], flat, windows * self.length + low[windows], windows * self.length + high[windows])
        chained = (sizes > 1) | (self.dilation > 1)
        chains, sizes = begins[chained], sizes[chained]
        lengths = furthest[chains + sizes - 1] - firsts[chains]
        cuts = np.flatnonzero(np.diff(np.cumsum(lengths) // ROWS_AT_ONCE)) + 1
        for batch in np.split(np.arange(len(chains)), cuts):
            ends = np.cumsum(lengths[batch])
            starts = ends - lengths[batch]
            together = np.empty((lengths[batch].sum(), *values.shape[2:]), np.float32)
            read_runs(firsts[chains[batch]], together, starts, ends)
            for begin, size, start in zip(chains[batch].tolist(), sizes[batch].tolist(), starts.tolist(), strict=True):
                shift = start - int(firsts[begin])
                for window in order[begin : begin + size].tolist():
                    rows = slice(first_rows[window] + shift, end_rows[window] + shift, self.dilation)
                    values[window, low[window] : high[window]] = together[rows]

    def _pad(self, values: _Frames, low: _Numbers, high: _Numbers) -> None:
        """Fill in the frames of each window before `low` and from `high` on."""
        for window in np.flatnonzero((low > 0) | (high < self.length)).tolist():
            frames, first, stop = values[window], int(low[window]), int(high[window])
            frames[:first] = frames[first] if self.padding == "edge" else 0.0
            frames[stop:] = frames[stop - 1] if self.padding == "edge" else 0.0


def _subjects(store: Store) -> Int[np.ndarray, "sequences"] | None:
    """Row of each sequence's subject in Human3.6M's, or -1; None if the store does not have that dataset."""
    if HUMAN36M not in store:
        return None
    rows = {(HUMAN36M, subject): row for row, subject in enumerate(HUMAN36M_SUBJECTS)}
    names = (store.names(row) for row in range(len(store.sequences)))
    return np.array([rows.get((dataset, subject), -1) for dataset, subject, _ in names], np.int64)


def _number_of_frames(name: str, value: int) -> int:
    try:
        number = index(value)
    except TypeError as error:
        raise WindowError(f"{name} {value!r} is not a whole number; give a number of frames") from error
    if number < 1:
        raise WindowError(f"{name} {value} must be at least 1; give a number of frames")
    return number


class WindowBatch(Sequence[Batch]):
    """Windows that were fetched at once: a sequence of items for PyTorch; `collate` takes it whole."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __getitem__(self, number: Any) -> Any:
        windows = {name: values[number] for name, values in self.batch.items()}
        return WindowBatch(windows) if isinstance(number, slice) else windows

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))


def collate(windows: WindowBatch | list[Batch]) -> Batch:
    """The windows of a batch in one dictionary of tensors; a dataloader's ``collate_fn``, which copies nothing."""
    if isinstance(windows, WindowBatch):
        return windows.batch
    collated: Batch = default_collate(windows)
    return collated
