"""Takes what belongs into a support folder out of downloads, and puts it there: whole, and over no other file."""

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from h36m_amass.body import model
from h36m_amass.body.families import FAMILIES, GENDERS, SMPLH
from h36m_amass.body.regressor import SPIN_PAGE
from h36m_amass.errors import H36mAmassError
from h36m_amass.files.archive_names import SUFFIXES
from h36m_amass.files.archives import ArchiveError, open_archive
from h36m_amass.files.first_bytes import NUM_BYTES, UNFINISHED, archive_kind
from h36m_amass.files.npz import NpzError, NpzReader
from h36m_amass.setup.identify import RECORDINGS, REGRESSOR_NAME, WANTED, NotOursError, SetupError, Support, identify
from h36m_amass.system import atomic_file
from h36m_amass.system.lock import locked

SCRATCH = ".setup"
"""Folder in the support folder where files are made whole before they are moved to their places."""
_HIDDEN = (".", "__MACOSX")


@dataclass(frozen=True)
class Taken:
    """A file of the support folder, and where it came from."""

    target: str  # relative to the support folder
    title: str
    source: str  # the download, and the file's name in it


@dataclass
class SetUp:
    """What `set_up` did."""

    placed: list[Taken] = field(default_factory=list)
    unchanged: list[Taken] = field(default_factory=list)  # that were there before, the same
    problems: list[str] = field(default_factory=list)  # what could not be taken, one line each
    missing: list[str] = field(default_factory=list)  # what AMASS as SMPL+H G still needs, and its page


@dataclass(frozen=True)
class _Candidate:
    support: Support
    source: str
    content: Path  # in the scratch folder, whole


def set_up(
    downloads: Iterable[Path | str],
    support_dir: Path | str = "support_data",
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> SetUp:
    """Put what downloads hold into a support folder, where `h36m_amass.build` looks for it.

    Parameters
    ----------
    downloads
        Body models, DMPLs, regressors and vertex maps as they were downloaded: archives (tar, compressed or not, and
        zip), single files, and folders of these. Pickles are read by `h36m_amass.files.unpickling`.
    support_dir
        Folder to fill; made if it is not there.
    overwrite
        Replace files that are there and differ. Without it they stay, and are a problem.
    progress
        Called with the name of each file that is read.

    A file is there whole or not at all, and a body model can be loaded. Nothing is taken from a damaged archive. Raises
    `SetupError` if the support folder cannot be written.
    """
    support_dir, result = Path(support_dir), SetUp()
    try:
        support_dir.mkdir(parents=True, exist_ok=True)
        with locked(support_dir / SCRATCH, support_dir):
            for left in (support_dir / SCRATCH).glob("*/"):  # by a process that was killed
                shutil.rmtree(left)
            for download in map(Path, downloads):
                with TemporaryDirectory(dir=support_dir / SCRATCH) as scratch:
                    taking = _Taking(Path(scratch), result.problems, progress)
                    taking.take(download)
                    for candidate in _without_doubles(taking.candidates):
                        _place(candidate, support_dir, overwrite, result)
    except OSError as error:
        raise SetupError(
            f"cannot be written ({error.strerror}); correct that, or give another folder", support_dir
        ) from error
    result.missing = _missing(support_dir)
    return result


def misplaced(support_dir: Path) -> list[str]:
    """What lies in a support folder where nothing is looked for, one line each, with how it gets to its place.

    What its place holds already is passed over.
    """
    lines, is_wrong = [], not support_dir.is_dir() or support_dir.absolute().name == "body_models"
    for path in () if is_wrong else _files_of(support_dir):
        command = f"h36m-amass setup {quote(str(path))} --support-dir {quote(str(support_dir))}"
        try:
            if _archive_kind(path) is not None:
                if _holds_missing(path, support_dir):
                    lines.append(f"{path}: is packed; {command} takes out what is needed")
            elif path.suffix.lower() in WANTED:
                support = identify(path, path.relative_to(support_dir).as_posix())
                target = _place_of(support_dir, support)
                line = f"{path}: is {support.title}, which belongs to {target}"
                if not target.exists():
                    lines.append(f"{line}; {command} puts it there")
                elif path != target and not support.is_converted and not filecmp.cmp(path, target, shallow=False):
                    lines.append(f"{line}, where another file lies; put each where it belongs")
        except (NotOursError, OSError):
            continue
        except H36mAmassError as error:
            lines.append(f"{path}: {error.reason.removeprefix(f'{path}: ')}")
    return lines


def _holds_missing(archive: Path, support_dir: Path) -> bool:
    """Whether an archive holds what a support folder lacks; it is read no further than to the first such file."""
    with TemporaryDirectory() as scratch, open_archive(archive, _is_wanted) as stream:
        for member in stream:
            if member.name.endswith(RECORDINGS):
                return False
            path = Path(scratch, f"member{Path(member.name).suffix}")
            with path.open("wb") as file:
                member.copy_to(file)
            with suppress(H36mAmassError):
                if not _place_of(support_dir, identify(path, member.name)).exists():
                    return True
    return False


class _Taking:
    """Goes through one download, and keeps what belongs into a support folder as files of a scratch folder."""

    def __init__(self, scratch: Path, problems: list[str], progress: Callable[[str], None]) -> None:
        self._scratch, self._problems, self._progress = scratch, problems, progress
        self._number = 0
        self.candidates: list[_Candidate] = []

    def take(self, download: Path) -> None:
        """Look at a download: a folder, an archive or a file."""
        if download.is_dir():
            before = len(self.candidates), len(self._problems)
            for file in _files_of(download):
                self._take_file(file, file.relative_to(download.parent).as_posix(), str(file), is_asked_for=False)
            if before == (len(self.candidates), len(self._problems)):
                self._problems.append(f"{download}: holds no body model, regressor or vertex map; give your downloads")
        elif not download.is_file():
            self._problems.append(f"{download}: there is no such file or folder")
        else:
            self._take_file(download, download.absolute().as_posix(), str(download), is_asked_for=True)

    def _take_file(self, path: Path, name: str, shown: str, is_asked_for: bool) -> None:
        """Take a file of the disk; files of a folder that setup does not need are skipped."""
        self._progress(shown)
        try:
            if path.name.lower().endswith(UNFINISHED):
                raise SetupError("is still being downloaded; wait until it is there")
            if _archive_kind(path) is not None:
                self._take_archive(path)
            elif is_asked_for or path.name.lower().endswith((*WANTED, *SUFFIXES)):
                self._keep(identify(path, name), shown)
        except NotOursError as error:
            self._problems += [f"{shown}: {error.reason}"] if is_asked_for else []
        except (H36mAmassError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # the download is not at fault
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
            self._problems.append(f"{shown}: {reason.removeprefix(f'{path}: ')}")

    def _take_archive(self, path: Path) -> None:
        """What an archive holds, unless it is damaged anywhere."""
        before, problems, packed = len(self.candidates), list[str](), ""
        with open_archive(path, _is_wanted) as stream:
            for member in stream:
                if member.name.endswith(RECORDINGS):
                    raise NotOursError("holds recordings; put it into your AMASS folder as it is")
                if member.name.lower().endswith(tuple(SUFFIXES)):
                    packed = member.name
                    continue
                self._progress(f"{path}: {member.name}")
                scratch = self._new_file(Path(member.name).suffix)
                try:
                    with scratch.open("xb") as file:
                        member.copy_to(file)
                except ArchiveError as error:
                    stream.damage = stream.damage or error.reason
                    break
                try:
                    self._keep(identify(scratch, member.name), f"{path}: {member.name}")
                except NotOursError:
                    continue
                except H36mAmassError as error:
                    reason = error.reason.removeprefix(f"{scratch}: ")
                    problems.append(f"{path}: {member.name}: {reason}")
        if stream.damage is not None:
            del self.candidates[before:]
            raise ArchiveError(f"{stream.damage.split(';')[0]}; nothing of it was taken, download it again")
        self._problems += problems
        if len(self.candidates) == before and not problems:
            if packed:
                raise NotOursError(f"holds the archive {packed}; unpack it, and give what is in it")
            raise NotOursError("holds no body model, regressor or vertex map")

    def _keep(self, support: Support, source: str) -> None:
        """Write a file's content, ready to be moved to its place."""
        content = self._new_file("")
        with content.open("xb") as file:
            support.write(file)
            file.flush()
            os.fsync(file.fileno())
        _require_whole(support, content, self._scratch)
        self.candidates.append(_Candidate(support, source, content))

    def _new_file(self, suffix: str) -> Path:
        self._number += 1
        return self._scratch / f"{self._number}{suffix}"


def _require_whole(support: Support, content: Path, scratch: Path) -> None:
    """Raise `SetupError` if a body model cannot be loaded, or a DMPL model cannot be read."""
    _, kind, gender, *_ = (*support.target.split("/"), "", "")
    try:
        if kind in FAMILIES:
            path = scratch / "whole" / support.target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(content)
            try:
                model.load(scratch / "whole", gender, 1, 0, FAMILIES[kind])
            finally:
                path.unlink()
        elif kind == "dmpls":
            with NpzReader(content) as npz:
                npz.read("eigvec")
    except (model.BodyModelError, NpzError) as error:
        reason = error.reason.removeprefix(f"{scratch / 'whole' / support.target}: ")
        raise SetupError(f"is {support.title}, but {reason}") from error


def _without_doubles(candidates: Sequence[_Candidate]) -> Iterator[_Candidate]:
    """Not what is made of a pickle where the download has the same as an ``.npz``."""
    plain = {candidate.support.target for candidate in candidates if not candidate.support.is_converted}
    return (each for each in candidates if not (each.support.is_converted and each.support.target in plain))


def _place(candidate: _Candidate, support_dir: Path, overwrite: bool, result: SetUp) -> None:
    """Move a file to its place, unless another one is there."""
    support = candidate.support
    target = _place_of(support_dir, support)
    taken = Taken(support.target, support.title, candidate.source)
    if target.exists():
        if filecmp.cmp(target, candidate.content, shallow=False):
            result.unchanged.append(taken)
            return
        if not overwrite:
            reason = f"is there already and differs from {candidate.source}, which was not taken"
            result.problems.append(f"{target}: {reason}; --overwrite replaces it")
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    candidate.content.replace(target)
    atomic_file.sync(target.parent)
    result.placed.append(taken)


def _place_of(support_dir: Path, support: Support) -> Path:
    """Where a file belongs, or lies already: a body model may lie at several places."""
    _, family, gender, *_ = (*support.target.split("/"), "", "")
    if support.target.startswith("body_models/") and family in FAMILIES:
        return model.model_path(support_dir, gender, FAMILIES[family])
    return support_dir / support.target


def _missing(support_dir: Path) -> list[str]:
    """What the usual case, AMASS as SMPL+H G, still needs."""
    lines = []
    for gender in GENDERS:
        files = (
            (model.model_path(support_dir, gender), model.model_origin(gender, SMPLH)),
            (model.dmpl_path(support_dir, gender), model.dmpl_origin(gender)),
        )
        lines += [f"{path}: {origin}" for path, origin in files if not path.exists()]
    path = support_dir / REGRESSOR_NAME
    return lines + ([] if path.exists() else [f"{path}: it is the joint regressor, from {SPIN_PAGE}"])


def _archive_kind(path: Path) -> str | None:
    """What kind of archive a file is; an ``.npz`` is a zip, and no archive of files."""
    with path.open("rb") as file:
        kind = archive_kind(file.read(NUM_BYTES))
    if kind == "zip":
        with suppress(NpzError), NpzReader(path) as npz:
            kind = None if npz.names() else kind
    return kind


def _files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(_HIDDEN) for part in path.relative_to(folder).parts):
            yield path


def _is_wanted(base_name: str) -> bool:
    return base_name.lower().endswith((*WANTED, *SUFFIXES)) and not base_name.startswith(_HIDDEN)
