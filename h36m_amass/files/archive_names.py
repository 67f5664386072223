"""Which files are archives, by their names; names of their members; and what goes wrong with either."""

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from typing import cast

from isal.igzip_lib import IsalError

from h36m_amass.errors import H36mAmassError
from h36m_amass.files.paths import UrlError

SUFFIXES = {
    **{".tar.bz2": "bz2", ".tar.xz": "xz", ".tar.gz": "gz", ".tar": "tar", ".zip": "zip"},
    **{".tbz2": "bz2", ".txz": "xz", ".tgz": "gz"},
}
"""Endings of archives, whatever their case, and the kinds that they stand for."""
# Those of other kinds, of compressed files, and what wget puts behind a name that is there already.
_UNREAD = re.compile(r"\.(rar|7z|tbz|tzst|bz2|xz|tar\.(zst|lzma|z)|(tar|tar\.\w+|tbz2|txz|tgz|zip)\.\d+)$")
VIDEOS = "holds videos and no recordings: it is AMASS's Render download; take SMPL+H G instead"
# What zipfile, tarfile, the decompressors and rapidgzip raise at damage.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error),
    *(RuntimeError, ValueError, OverflowError, LookupError),
    cast(type[Exception], IsalError),  # its stub takes it for an instance
)


class ArchiveError(H36mAmassError):
    """An archive, or a member of one, cannot be read; the message is a reason that does not name the archive."""


def dataset_name(file_name: str) -> str | None:
    """The dataset that a file is an archive of, by its name; None if it is not an archive."""
    name = file_name[: -len(_suffix(file_name)) or None]
    return None if name in ("", file_name) or name.startswith(".") else name


def kind_of(file_name: str) -> str:
    """One of the values of `SUFFIXES`, for a file that is an archive by its name."""
    return SUFFIXES[_suffix(file_name)]


def is_unread(file_name: str) -> bool:
    """Whether a file is an archive by its name, with an ending that is not read."""
    is_read = file_name.startswith(".") or dataset_name(file_name) is not None
    return not is_read and _UNREAD.search(file_name.lower()) is not None


def _suffix(file_name: str) -> str:
    return next(filter(file_name.lower().endswith, SUFFIXES), "")


def safe_name(name: str) -> str | None:
    """A member's name without what means nothing; None if it leads out, or elsewhere on another system."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    is_safe = parts and not name.startswith("/") and ".." not in parts and "\\" not in name and "\0" not in name
    return "/".join(parts) if is_safe else None


def base_name(name: str) -> str:
    """A member's name without its folders."""
    return next((part for part in reversed(name.split("/")) if part not in ("", ".")), "")


def damaged(what: str) -> str:
    """The reason for which an archive is read no further."""
    return f"is damaged or cut short ({what}); what lies before that is used; download it again"


class Explained:
    """Turns what the system, zipfile, tarfile and the decompressors raise into one clear line; a context manager."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ArchiveError | UrlError):
            return
        if isinstance(error, zipfile.BadZipFile):
            reason = f"is damaged or cut short ({error}); download it again, or unpack what there is"
            raise ArchiveError(reason) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise ArchiveError(f"cannot be read ({error.strerror})") from error
        if isinstance(error, (OSError, *DAMAGE)):
            raise ArchiveError(damaged(" ".join(str(error).split()))) from error
