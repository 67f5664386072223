"""AMASS recordings: find them in a tree, read and validate one.

AMASS (Mahmood et al., ICCV 2019) unpacks to ``DATASET/[INNER/]SUBJECT/SEQUENCE.npz``. An archive of a dataset is
listed as if it had been unpacked into a folder of its name.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from h36m_amass import archives
from h36m_amass.archive_tree import NO_FOLDERS, ArchivedEntry, Entry, tree_of
from h36m_amass.body_model import FAMILIES, GENDERS, Family
from h36m_amass.datasets import DatasetError, canonical, choose
from h36m_amass.npz import ArrayHeader, HeldFile, Layout, NpzError, NpzReader, Source
from h36m_amass.resampling import FrameRateError, exact_rate

MAX_VALUE = 1e6
"""No rotation in radians, position in metres or coefficient is beyond this."""
CHECKED_FRAMES = 2048
FRAME_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate")
MIN_DMPLS, MAX_DMPLS = 8, 300
"""Columns of soft-tissue coefficients. AMASS has 8; thousands could only be there to take memory."""
MAX_SMALL_BYTES = 2**16
"""Of an array that is not one of frames."""
AMASS_NAMES = "'SMPL+H G', 'SMPL-X G' or 'SMPL-X N'"
"""What AMASS's page calls the downloads that can be converted."""


class AmassError(ValueError):
    """An AMASS folder or recording cannot be used; the message says why."""


@dataclass(frozen=True)
class SequenceFile:
    """A recording in an AMASS tree.

    Attributes
    ----------
    dataset, subject, sequence
        Its key in the store.
    path
        Relative to the AMASS folder, with forward slashes.
    size
        In bytes.
    member
        Where it lies, if that is in an archive; `path` is as in the unpacked tree all the same.
    """

    dataset: str
    subject: str
    sequence: str
    path: str
    size: int
    member: archives.Member | None = None


@dataclass(frozen=True)
class Listing:
    """What an AMASS folder holds.

    Attributes
    ----------
    sequences
        In sorted order of dataset, subject and sequence.
    misplaced
        Relative path and reason of ``.npz`` files that are no sequences because of where they lie or what they
        are called.
    ignored
        How many files of which kind are no recordings.
    headers
        By path, and whether soft tissue matters: headers of recordings in compressed archives, which were at hand
        when these were looked through, or why there is none.
    closed
        Datasets in archives that were not looked through.
    """

    sequences: tuple[SequenceFile, ...]
    misplaced: tuple[tuple[str, str], ...]
    ignored: Mapping[str, int]
    headers: Mapping[tuple[str, bool], Header | str] = field(default_factory=dict)
    closed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """All of a recording but its frames.

    Attributes
    ----------
    model
        Name of the body model's family, one of `h36m_amass.body_model.FAMILIES`.
    frame_rate
        In hertz, as the decimal that the file's number prints as.
    betas
        As many as the file has.
    has_dmpls
        Whether the file has soft-tissue coefficients, and its body model a use for them.
    synthetic
        True if the file says that it was made up (see `h36m_amass.synthetic`).
    layout
        Where the frames lie in the file.
    digest
        SHA-256 of what makes up the joints: values that are small, checksums of those that are not.
    """

    num_frames: int
    model: str
    frame_rate: Fraction
    gender: str
    betas: Float[np.ndarray, "betas"]
    has_dmpls: bool
    synthetic: bool
    layout: Layout
    digest: str


@dataclass(frozen=True)
class Frames:
    """Consecutive frames of a recording: rotation vectors (radians), root translation (metres), soft tissue.

    Only the translation is in double precision: far from the origin float32 is too coarse.
    """

    poses: Float32[np.ndarray, "frames 3*bones"]
    trans: Float64[np.ndarray, "frames 3"]
    dmpls: Float32[np.ndarray, "frames dmpls"] | None

    def __len__(self) -> int:
        return len(self.poses)


def find_sequences(
    amass_dir: Path,
    datasets: tuple[str, ...] = (),
    use_dmpls: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
    open_archives: bool = True,
) -> Listing:
    """List the recordings under `amass_dir`.

    Parameters
    ----------
    amass_dir
        Folder that holds one folder or archive a dataset. Where there are both, under any two of the dataset's names,
        the folder counts.
    datasets
        Names of the datasets to look at, see `h36m_amass.datasets.choose`; all of them if empty.
    use_dmpls
        As for `read_header`, which is called for recordings in compressed archives while they are looked through.
    progress
        Called with ``"archives"``, how many megabytes of archives have been looked through, and how many there are.
    open_archives
        Whether archives are looked through, which takes minutes where they are large.

    Raises
    ------
    AmassError
        There is no such folder, it is empty, a dataset that was asked for is not in it, it has two archives of one
        dataset, or it holds no recording.
    """
    amass_dir = Path(amass_dir)
    if not amass_dir.is_dir():
        raise AmassError(f"{amass_dir}: is no folder; give the folder that holds your AMASS datasets")
    finder = _Finder(amass_dir, use_dmpls)
    names = finder.datasets()
    if finder.misplaced:
        raise AmassError(f"{amass_dir}: {finder.misplaced[0][1]}; check its permissions")
    if not any(amass_dir.iterdir()):
        raise AmassError(f"{amass_dir}: is empty; put AMASS datasets (SMPL+H G) into it, one folder or archive each")
    if datasets:
        try:
            names = list(choose(datasets, names))
        except DatasetError as error:
            raise AmassError(f"{amass_dir}: {error}") from error
    else:
        finder.add_strays(str(amass_dir), "lies outside a dataset's folder")
    closed = () if open_archives else tuple(name for name in names if finder.is_archive(name))
    names = [name for name in names if name not in closed]
    finder.look_through_archives(names, progress or (lambda stage, done, total: None))
    for dataset in names:
        finder.add_dataset(dataset)
    finder.add_damage()
    if not finder.sequences and not closed and finder.damage:
        raise AmassError(f"{amass_dir}: holds no AMASS sequences; {': '.join(finder.damage[0])}")
    if not finder.sequences and not closed:
        hint = "datasets lie in it as DATASET/SUBJECT/SEQUENCE.npz or DATASET/INNER/SUBJECT/SEQUENCE.npz"
        if finder.misplaced:
            hint += f", but {finder.misplaced[0][0]} does not; is this a single dataset? Then give its parent folder"
        raise AmassError(f"{amass_dir}: holds no AMASS sequences; {hint}")
    return Listing(
        tuple(sorted(finder.sequences, key=lambda s: (s.dataset, s.subject, s.sequence))),
        tuple(sorted(finder.misplaced)),
        dict(sorted(finder.ignored.items())),
        finder.headers,
        closed,
    )


def read_header(path: Source, use_dmpls: bool = True) -> Header:
    """Read and validate everything of a recording but its frames.

    Parameters
    ----------
    use_dmpls
        Whether soft tissue matters; if not, the file counts as one without, whatever it holds.

    Raises
    ------
    AmassError
        The file is damaged, incomplete, or of no body model that is known. The message does not name the file: it
        is the reason in a list of files.
    """
    try:
        with NpzReader(path) as npz:
            return _header(npz, use_dmpls)
    except NpzError as error:
        raise AmassError(str(error).removeprefix(f"{path}: ")) from error


def read_frames(path: Source, header: Header, num_frames: int, num_dmpls: int) -> Iterator[Frames]:
    """Read a recording's frames in runs of at most `num_frames` new ones.

    Each run but the first begins with the last frame of the one before, because an output frame may lie between.

    Parameters
    ----------
    header
        From `read_header` of the same file.
    num_dmpls
        How many soft-tissue coefficients to read; 0 for none.

    Raises
    ------
    AmassError
        The file is damaged or holds values that are no numbers below `MAX_VALUE`, where float32 could overflow and
        spoil other sequences of the batch. Frames that came before have been given out.
    """
    try:
        with NpzReader(path, layout=header.layout) as npz, ExitStack() as stack:
            headers = {name: _header_of_rows(npz, name) for name in _frame_arrays(header.has_dmpls)}
            columns = FAMILIES[header.model].num_pose_columns
            if (_check_frames(headers), headers["poses"].shape[1]) != (header.num_frames, columns):
                raise AmassError("has changed since the build began; build again")
            types: dict[str, np.dtype[Any]] = {"poses": np.dtype(np.float32), "trans": np.dtype(np.float64)}
            if header.has_dmpls and num_dmpls > 0:
                types["dmpls"] = np.dtype(np.float32)
            # Closed one by one, because a generator that is left waiting keeps the file open.
            readers = [
                stack.enter_context(closing(npz.rows(name, num_frames, overlap=1, dtype=types[name]))) for name in types
            ]
            start = 0
            for poses, trans, *soft_tissue in zip(*readers, strict=True):
                dmpls = [coefficients[:, :num_dmpls] for coefficients in soft_tissue]
                for name, values in zip(types, (poses, trans, *dmpls), strict=True):
                    _check_values(name, values, start)
                yield Frames(poses, trans, dmpls[0] if dmpls else None)
                start += len(poses) - 1
    except NpzError as error:
        raise AmassError(str(error).removeprefix(f"{path}: ")) from error


def check_content(path: Source, header: Header) -> None:
    """Read a recording to its end, and compare it with the checksums that it carries.

    Raises
    ------
    AmassError
        The file is damaged, or has changed since its `header` was read.
    """
    for _ in read_frames(path, header, CHECKED_FRAMES, num_dmpls=1):
        pass


def fit_betas(betas: Float[np.ndarray, "given"], num_betas: int) -> Float[np.ndarray, "betas"]:
    """`betas` cut or padded with zeros to the body model's number."""
    fitted = np.zeros(num_betas)
    fitted[: len(betas)] = betas[:num_betas]
    return fitted


class _Finder:
    """Walks dataset folders, and archives as if they were unpacked, and sorts what lies in them."""

    def __init__(self, amass_dir: Path, use_dmpls: bool) -> None:
        self.amass_dir, self._use_dmpls = amass_dir, use_dmpls
        self.sequences: list[SequenceFile] = []
        self.misplaced: list[tuple[str, str]] = []
        self.ignored: Counter[str] = Counter()
        self.headers: dict[tuple[str, bool], Header | str] = {}
        self.damage: list[tuple[str, str]] = []
        self._beside: list[tuple[str, list[str]]] = []
        self._scanned: dict[str, tuple[list[str], list[Entry]]] = {}
        self._archives = self._find_archives()

    def datasets(self) -> list[str]:
        """Names of the folders and archives that may be datasets."""
        return sorted({*self._scan(str(self.amass_dir))[0], *self._archives})

    def is_archive(self, dataset: str) -> bool:
        """Whether a dataset lies in an archive."""
        return dataset in self._archives

    def look_through_archives(self, datasets: list[str], progress: Callable[[str, int, int], None]) -> None:
        """Read the archives of `datasets`, so that these can be walked."""
        work = [dataset for dataset in datasets if dataset in self._archives]
        sizes = [self._archives[dataset].stat().st_size // 10**6 for dataset in work]
        for dataset, before in zip(work, accumulate(sizes, initial=0), strict=False):
            self._look_through(dataset, _shifted(progress, before, sum(sizes)))
        if work:
            progress("archives", sum(sizes), sum(sizes))

    def _look_through(self, dataset: str, progress: Callable[[int], None]) -> None:
        entry = self._archives[dataset]

        def show(name: str, file: HeldFile) -> None:
            self._read_header(f"{dataset}/{name}", file)

        contents = archives.examine(entry.path, lambda name: _kind_of_other(name) is None, show, progress)
        if contents.damage is not None:
            self.damage.append((_printable(entry.name), contents.damage))
        reason = "its name leads out of the archive; pack it again under another one"
        self.misplaced += [(_printable(f"{entry.name}/{name}"), reason) for name in contents.unnamed]
        self._scanned.update(tree_of(contents, f"{self.amass_dir}{os.sep}{dataset}"))

    def add_damage(self) -> None:
        """Count the archives that are damaged, empty, or beside a folder of theirs that is, as left out."""
        found = {sequence.dataset for sequence in self.sequences} | {path.split("/")[0] for path, _ in self.misplaced}
        damaged = {name for name, _ in self.damage}
        for dataset, entry in self._archives.items():
            looked_through = f"{self.amass_dir}{os.sep}{dataset}" in self._scanned
            if looked_through and _printable(entry.name) not in damaged and not found & {dataset, entry.name}:
                self.damage.append((_printable(entry.name), "holds no recordings; download it again, or take it away"))
        for archive, folders in self._beside:
            looked_through = all(f"{self.amass_dir}{os.sep}{folder}" in self._scanned for folder in folders)
            if found & set(folders) or not looked_through:
                self.ignored["archives beside a folder of their dataset"] += 1
            else:
                empty = f"the folder {_printable(folders[0])}, which holds no recordings"
                self.damage.append((_printable(archive), f"is not read beside {empty}; take that folder away"))
        self.misplaced += self.damage

    def _find_archives(self) -> dict[str, os.DirEntry[str]]:
        """Archives by dataset; they are taken out of the files that lie beside the datasets."""
        folders, files = self._scan(str(self.amass_dir))
        found: dict[str, os.DirEntry[str]] = {}
        others: list[Entry] = []
        for entry in files:
            dataset = archives.dataset_name(entry.name)
            own = [] if dataset is None else [name for name in folders if canonical(name) == canonical(dataset)]
            if archives.is_unread(entry.name):
                self.ignored["archives of a kind that is not read"] += 1
            elif dataset is None or isinstance(entry, ArchivedEntry) or not _is_file(entry):
                others.append(entry)
            elif own:
                self._beside.append((entry.name, own))
            elif dataset in found:
                both = f"{_printable(found[dataset].name)} and {_printable(entry.name)}"
                raise AmassError(f"{self.amass_dir}: has {both}, two archives of one dataset; take one away")
            else:
                found[dataset] = entry
        self._scanned[str(self.amass_dir)] = folders, others
        return found

    def _read_header(self, path: str, file: HeldFile) -> None:
        try:
            self.headers[path, self._use_dmpls] = read_header(file, self._use_dmpls)
        except AmassError as error:
            self.headers[path, self._use_dmpls] = str(error)

    def add_dataset(self, dataset: str) -> None:
        folder = f"{self.amass_dir}{os.sep}{dataset}"
        self.add_strays(folder, "lies outside a subject's folder")
        subjects = self._folders(folder)
        # One folder in between is looked through, where no folder beside it holds recordings.
        inner = [path for path in subjects if any(self._has_recordings(s) for s in self._folders(path))]
        if len(inner) == 1 and not any(self._has_recordings(path) for path in subjects):
            for path in subjects:
                self.add_strays(path, "lies outside a subject's folder")
            subjects = self._folders(inner[0])
        for path in subjects:
            self._add_subject(dataset, path)

    def add_strays(self, folder: str, reason: str) -> None:
        """Count the files of a folder that is not a subject's; its recordings are out of place."""
        for entry in self._scan(folder)[1]:
            if self._is_recording(entry):
                self.misplaced.append((_printable(self._relative(entry.path)), reason))

    def _add_subject(self, dataset: str, folder: str) -> None:
        subject = os.path.basename(folder)  # noqa: PTH119  # pathlib takes as long as reading a header
        for entry in self._scan(folder)[1]:
            if not self._is_recording(entry):
                continue
            path = self._relative(entry.path)
            if path != _printable(path):
                self.misplaced.append((_printable(path), "its name is not valid UTF-8; rename it"))
                continue
            sequence = entry.name.removesuffix(".npz")
            if isinstance(entry, ArchivedEntry):
                size = entry.member.place.size
                self.sequences.append(SequenceFile(dataset, subject, sequence, path, size, entry.member))
                continue
            try:
                size = entry.stat().st_size
            except OSError as error:
                self.misplaced.append((path, f"cannot be read ({error.strerror})"))
                continue
            self.sequences.append(SequenceFile(dataset, subject, sequence, path, size))
        waiting = self._folders(folder)
        while waiting:
            deeper = waiting.pop()
            self.add_strays(deeper, "lies deeper than its dataset's subjects; move it to DATASET/SUBJECT/")
            # A link could lead back up.
            waiting += [path for path in self._folders(deeper) if not os.path.islink(path)]  # noqa: PTH114

    def _is_recording(self, entry: Entry) -> bool:
        """Whether a file is a recording by its name; if not, it is counted under its kind."""
        if isinstance(entry, ArchivedEntry):
            problem = entry.member.place.problem
            if problem is not None and not entry.name.startswith("."):
                self.misplaced.append((_printable(self._relative(entry.path)), problem))
                return False
        elif not _is_file(entry) and not entry.name.startswith("."):
            self.misplaced.append((_printable(self._relative(entry.path)), "is a link that leads nowhere, or no file"))
            return False
        kind = _kind_of_other(entry.name)
        if kind is not None:
            self.ignored[kind] += 1
        return kind is None

    def _has_recordings(self, folder: str) -> bool:
        return any(_kind_of_other(entry.name) is None for entry in self._scan(folder)[1])

    def _folders(self, folder: str) -> list[str]:
        return [f"{folder}{os.sep}{name}" for name in self._scan(folder)[0]]

    def _scan(self, folder: str) -> tuple[list[str], list[Entry]]:
        """Names of the folders in a folder, and its files with links that lead nowhere: those must be told of."""
        if folder not in self._scanned:
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.misplaced.append((_printable(self._relative(folder)), f"cannot be read ({error.strerror})"))
                found = []
            folders, files = list[str](), list[Entry]()
            for entry in found:
                if not _is_folder(entry):
                    files.append(entry)
                elif not entry.name.startswith(NO_FOLDERS):
                    if self._leads_up(entry):
                        self.ignored["links to a folder above"] += 1
                    else:
                        folders.append(entry.name)
            self._scanned[folder] = folders, files
        return self._scanned[folder]

    def _leads_up(self, entry: os.DirEntry[str]) -> bool:
        """Whether a folder is a link to one that it lies in, where everything would be found once more."""
        if not entry.is_symlink():
            return False
        link = Path(entry.path)
        inside = [folder for folder in link.parents if folder.is_relative_to(self.amass_dir)]
        real = [link.parent.resolve(), self.amass_dir.resolve()]  # links may lie on the way here, too
        above = {*inside, *real, *(folder for place in real for folder in place.parents)}
        return any(link.samefile(folder) for folder in above)

    def _relative(self, path: str) -> str:
        # pathlib's way takes as long as reading a header, for each of thousands of files.
        return path.removeprefix(str(self.amass_dir)).lstrip(os.sep).replace(os.sep, "/")


def _shifted(progress: Callable[[str, int, int], None], before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress("archives", before + done, total)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _kind_of_other(name: str) -> str | None:
    """What a file is by its name, if it is no recording."""
    if name.startswith("."):
        return "hidden files"
    if not name.endswith(".npz"):
        return "files that are not .npz"
    if name == "shape.npz":
        return "shape.npz"
    return "*_stagei.npz" if name.endswith("_stagei.npz") else None


def _printable(path: str) -> str:
    """`path` with bytes that are no UTF-8 written out."""
    return path.encode("utf-8", "backslashreplace").decode()


def _header(npz: NpzReader, use_dmpls: bool) -> Header:
    rate_keys = [key for key in FRAME_RATE_KEYS if key in npz]
    missing = [name for name in ("poses", "trans", "betas", "gender") if name not in npz]
    missing += [] if rate_keys else [FRAME_RATE_KEYS[0]]
    if missing:
        raise AmassError(f"has no {', '.join(missing)}; download the dataset as {AMASS_NAMES}")
    headers = {"poses": _header_of_rows(npz, "poses")}
    family = _family(npz, headers["poses"].shape[1])
    has_dmpls = use_dmpls and family.has_dmpls and "dmpls" in npz
    headers |= {name: _header_of_rows(npz, name) for name in _frame_arrays(has_dmpls) if name not in headers}
    num_frames = _check_frames(headers)
    betas = npz.read("betas", MAX_SMALL_BYTES)
    if betas.dtype.kind not in "fiu" or betas.size == 0 or betas.shape[-1:] != (betas.size,):
        raise AmassError(f"betas are {betas.dtype} of shape {betas.shape}, not a row of numbers")
    betas = betas.reshape(-1).astype(np.float64)
    if not (np.abs(betas) <= MAX_VALUE).all():
        raise AmassError("betas are no numbers below 1e6; download the file again")
    rate = npz.read(rate_keys[0], MAX_SMALL_BYTES)
    if rate.dtype.kind not in "fiu" or rate.size != 1:
        raise AmassError(f"{rate_keys[0]} is {rate.dtype} of shape {rate.shape}, not one number")
    try:
        frame_rate = exact_rate(rate.reshape(-1)[0])
    except FrameRateError as error:
        raise AmassError(f"{rate_keys[0]} is {rate.reshape(-1)[0]}, not a positive number of hertz") from error
    gender = _word(npz, "gender")
    if gender not in GENDERS:
        raise AmassError(f"gender is {gender!r}, not one of {', '.join(GENDERS)}")
    arrays, synthetic = _frame_arrays(has_dmpls), "synthetic" in npz
    words = family.name, num_frames, str(frame_rate), gender
    content = (npz.checksums(arrays), *words, betas.tobytes(), has_dmpls, synthetic)
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    return Header(
        num_frames=num_frames,
        model=family.name,
        frame_rate=frame_rate,
        gender=gender,
        betas=betas,
        has_dmpls=has_dmpls,
        synthetic=synthetic,
        layout=npz.layout(arrays),
        digest=digest,
    )


def _family(npz: NpzReader, columns: int) -> Family:
    """The body model that a recording is of, by the columns of its poses; what the file says has to agree."""
    family = next((family for family in FAMILIES.values() if family.num_pose_columns == columns), None)
    if family is None:
        known = ", ".join(f"{family.num_pose_columns} of {family.title}" for family in FAMILIES.values())
        raise AmassError(
            f"is of no body model that is known: poses have {columns} columns, not {known}; "
            f"download the dataset as {AMASS_NAMES}"
        )
    if "surface_model_type" in npz:
        told = _word(npz, "surface_model_type")
        if told != family.name and not told.startswith(f"{family.name}_"):  # smplx_locked_head, say
            raise AmassError(
                f"says that it is of {told!r} (surface_model_type), but its poses have the {columns} columns of "
                f"{family.title}; download the file again"
            )
    return family


def _frame_arrays(has_dmpls: bool) -> tuple[str, ...]:
    return ("poses", "trans", "dmpls") if has_dmpls else ("poses", "trans")


def _header_of_rows(npz: NpzReader, name: str) -> ArrayHeader:
    header = npz.header(name)
    if header.dtype.kind not in "fiu" or len(header.shape) != 2:
        raise AmassError(f"{name} are {header.dtype} of shape {header.shape}, not rows of numbers")
    return header


def _check_frames(headers: Mapping[str, ArrayHeader]) -> int:
    """Number of frames, once poses, trans and dmpls agree about it."""
    columns = {name: header.shape[1] for name, header in headers.items()}
    if columns["trans"] != 3:
        raise AmassError(f"trans have {columns['trans']} columns, not 3; download the file again")
    if not MIN_DMPLS <= columns.get("dmpls", MIN_DMPLS) <= MAX_DMPLS:
        raise AmassError(
            f"dmpls have {columns['dmpls']} columns, not {MIN_DMPLS} to {MAX_DMPLS}; convert it with --no-dmpls"
        )
    frames = {name: header.shape[0] for name, header in headers.items()}
    if len(set(frames.values())) != 1:
        counts = ", ".join(f"{count} of {name}" for name, count in frames.items())
        raise AmassError(f"its arrays differ in frames ({counts}); download the file again")
    if frames["poses"] == 0:
        raise AmassError("has no frames")
    return frames["poses"]


def _check_values(name: str, values: Float[np.ndarray, "frames columns"], first_frame: int) -> None:
    # The sum of squares bounds them all, at a fraction of the cost; a comparison with NaN is false.
    if float(np.vdot(values, values)) <= MAX_VALUE**2:
        return
    within = (np.abs(values) <= MAX_VALUE).all(axis=1)
    if not within.all():
        frame = first_frame + int(np.argmin(within))
        raise AmassError(f"{name} of frame {frame} is no number below 1e6; download the file again")


def _word(npz: NpzReader, name: str) -> str:
    array = npz.read(name, MAX_SMALL_BYTES)
    if array.dtype.kind not in "US" or array.size != 1:
        raise AmassError(f"{name} is {array.dtype} of shape {array.shape}, not a word")
    value = array.reshape(-1)[0]
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip().lower()
