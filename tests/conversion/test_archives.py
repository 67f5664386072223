"""An archive gives what its unpacked tree gives, to the byte; a damaged or hostile one costs nothing beside itself."""

from __future__ import annotations

import bz2
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from h36m_amass import synthetic
from h36m_amass.conversion import planning
from h36m_amass.conversion.builder import build
from h36m_amass.conversion.options import BuildError
from h36m_amass.conversion.report import BuildReport
from h36m_amass.files import tar_stream
from h36m_amass.store.store import Store
from h36m_amass.verification.store import verify
from tests.archive_files import SUFFIXES, members_of, pack, packed_tree, recording


@pytest.fixture(params=["with rapidgzip", "standard library"])
def either_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run once with the extra and once without."""
    if request.param == "standard library":
        monkeypatch.setattr(tar_stream, "_rapidgzip", lambda: None)


@pytest.fixture(scope="module")
def amass_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up AMASS tree of short recordings. Not to be written to."""
    folder = tmp_path_factory.mktemp("short")
    synthetic.write_amass_tree(folder, seconds=0.3)
    return folder


@pytest.fixture(scope="module")
def unpacked(amass_dir: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tree of folders. Not to be written to."""
    path = tmp_path_factory.mktemp("unpacked") / "store.h5"
    build(amass_dir, path, support_dir=support_dir)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_archives_of_any_kind_give_the_bytes_of_the_tree_and_nothing_is_unpacked(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path, suffix: str, either_library: None
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", suffix)
    before = sorted(tmp_path.rglob("*"))
    report = build(tree, tmp_path / "store.h5", support_dir=support_dir)
    assert report.left_out == ()
    assert (tmp_path / "store.h5").read_bytes() == unpacked.read_bytes()
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "store.h5"])


def test_short_units_and_two_workers_give_the_bytes_of_the_tree(
    amass_dir: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "UNIT_SOURCE_FRAMES", 100)
    build(amass_dir, tmp_path / "unpacked.h5", support_dir=support_dir)
    tree = packed_tree(amass_dir, tmp_path / "packed", ".tar.bz2", ".tar.xz", ".zip")
    build(tree, tmp_path / "packed.h5", support_dir=support_dir, workers=2)
    assert (tmp_path / "packed.h5").read_bytes() == (tmp_path / "unpacked.h5").read_bytes()


def test_folders_and_archives_with_and_without_an_inner_folder_mix(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "mixed"
    tree.mkdir()
    pack(amass_dir / "Invented", tree / "Invented.tar.bz2", "Invented")
    pack(amass_dir / "Pretend", tree / "Pretend.zip", "./Pretend")
    (tree / "Madeup").symlink_to(amass_dir / "Madeup")
    build(tree, tmp_path / "store.h5", support_dir=support_dir)
    mixed, plain = Store(tmp_path / "store.h5"), Store(unpacked)
    assert [sequence.key for sequence in mixed.sequences] == [sequence.key for sequence in plain.sequences]
    for sequence in plain.sequences:
        np.testing.assert_array_equal(mixed[sequence.key].positions_3d[:], sequence.positions_3d[:])


def cut_tree(tmp_path: Path) -> tuple[Path, int]:
    """A ``.tar.bz2`` of which the end is missing, and how many of its five recordings lie before that."""
    whole = members_of(
        tmp_path / "whole" / "Cut.tar.bz2", *((f"S/{number}.npz", recording(200, number)) for number in range(5))
    )
    content = whole.read_bytes()
    tree = tmp_path / "cut"
    tree.mkdir()
    (tree / "Cut.tar.bz2").write_bytes(content[: len(content) * 2 // 3])
    decoder = bz2.BZ2Decompressor()
    held = len(decoder.decompress(content[: len(content) * 2 // 3]))
    with tarfile.open(whole) as tar:
        return tree, sum(info.offset_data + info.size <= held for info in tar)


def test_what_lies_before_the_missing_end_of_an_archive_is_converted(
    support_dir: Path, tmp_path: Path, either_library: None
) -> None:
    tree, before = cut_tree(tmp_path)
    report = build(tree, tmp_path / "s.h5", support_dir=support_dir)
    assert [sequence.key for sequence in Store(tmp_path / "s.h5").sequences] == [f"Cut/S/{n}" for n in range(before)]
    assert 0 < before < 5
    (left,) = report.left_out
    assert (left.dataset, left.path) == ("Cut", "Cut.tar.bz2")
    assert re.match(r"is damaged or cut short \(.*\); what lies before that is used; download it again", left.reason)
    with pytest.raises(BuildError, match=r"Cut.tar.bz2: is damaged.*--strict"):
        build(tree, tmp_path / "strict.h5", support_dir=support_dir, strict=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("content", "reason"), [(b"", "damaged"), (b"no archive at all " * 99, "damaged")])
def test_a_file_that_is_no_archive_is_left_out_by_name(
    support_dir: Path, tmp_path: Path, suffix: str, content: bytes, reason: str
) -> None:
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / f"Bad{suffix}").write_bytes(content)
    members_of(tmp_path / "amass" / "Good.tar", ("S/a.npz", recording()))
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (left,) = report.left_out
    assert (left.dataset, left.path) == ("Bad", f"Bad{suffix}")
    assert reason in left.reason
    assert "\n" not in left.reason


def test_a_deflated_member_that_is_damaged_is_left_out_alone(support_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    path = tmp_path / "amass" / "D.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("a", "b"):
            packed.writestr(f"S/{name}.npz", recording())
        start = packed.getinfo("S/b.npz").header_offset
    content = bytearray(path.read_bytes())
    content[start + 5000] ^= 1
    path.write_bytes(content)
    report = build(tmp_path / "amass", tmp_path / "s.h5", support_dir=support_dir)
    (left,) = report.left_out
    assert left.path == "D/S/b.npz"
    assert "damaged" in left.reason


def archived_build(tree: Path, store: Path, support_dir: Path, **options: bool) -> BuildReport:
    return build(tree, store, support_dir=support_dir, **options)  # type: ignore[arg-type]


def test_a_store_is_verified_against_archives(
    unpacked: Path, amass_dir: Path, support_dir: Path, tmp_path: Path
) -> None:
    tree = packed_tree(amass_dir, tmp_path / "packed", ".tar.bz2", ".tar", ".zip")
    stages: set[str] = set()
    found = verify(
        unpacked,
        quick=True,
        against=tree,
        support_dir=support_dir,
        sample=40,
        progress=lambda stage, done, total: stages.add(stage),
    )
    assert found.findings == ()
    assert stages == {"archives", "compare"}
    assert found.compared_frames > 0
    for archive in tree.iterdir():
        archive.write_bytes(archive.read_bytes()[:100])
    found = verify(unpacked, quick=True, against=tree, support_dir=support_dir, sample=20)
    assert found.compared_frames == 0
    assert len(found.findings) == 1
    assert "damaged" in found.findings[0]
