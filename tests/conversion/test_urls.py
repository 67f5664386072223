"""Builds from trees at URLs: in fsspec's memory file system, and in a server of S3 on this machine."""

from __future__ import annotations

from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from h36m_amass import build, verify
from h36m_amass.conversion import pool
from h36m_amass.conversion.check import check_inputs
from h36m_amass.conversion.options import BuildOptions
from h36m_amass.files.paths import UrlError
from h36m_amass.recordings.recording import AmassError
from tests.archive_files import packed_tree
from tests.object_store import BUCKET, CREDENTIALS, ObjectStore
from tests.scenes import write_mixed_tree

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def local_store(tree: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "local.h5"
    build(tree, path, support_dir=support_dir)
    return path


def test_a_tree_at_a_url_gives_the_same_bytes(
    memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    local = build(tree, tmp_path / "local.h5", support_dir=support_dir)
    far = build("memory://tree", tmp_path / "far.h5", support_dir=support_dir)
    assert (tmp_path / "far.h5").read_bytes() == local_store.read_bytes()
    assert (far.ignored, far.datasets) == (local.ignored, local.datasets)
    assert [row.path for row in far.skipped] == [row.path for row in local.skipped] == ["One/s 1/broken.npz"]


@pytest.mark.parametrize("suffix", [".tar", ".zip", ".tar.bz2", ".tar.gz"])
def test_archives_at_urls_give_the_same_bytes(
    suffix: str, memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    memory.put(str(packed_tree(tree, tmp_path / "packed", suffix)), "/tree", recursive=True)
    build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == local_store.read_bytes()
    report = build("memory://tree", tmp_path / "s.h5", support_dir=support_dir, update=True)
    assert report.changes is not None
    assert (report.changes.added, report.changes.changed, report.changes.kept) == (0, 0, 4)


def test_a_recording_is_fetched_once(
    bucket: Any, server: ObjectStore, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    bucket.put(str(tree) + "/", f"{BUCKET}/tree/", recursive=True)
    build(f"s3://{BUCKET}/tree", tmp_path / "first.h5", support_dir=support_dir)
    server.forget()
    build(f"s3://{BUCKET}/tree", tmp_path / "s.h5", support_dir=support_dir)
    fetched = {path for _, path, _ in server.requests if path.endswith(".npz")}
    sizes = [size for method, path, size in server.requests if method == "GET" and path.endswith(".npz")]
    assert len(fetched) == len(sizes) == 5
    shape = tree / "One/s 1/shape.npz"
    assert sum(sizes) == sum(path.stat().st_size for path in tree.rglob("*.npz") if path != shape)
    assert (tmp_path / "s.h5").read_bytes() == local_store.read_bytes()


def test_workers_fetch_recordings_themselves(
    bucket: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    """Even if the server that they are forks of was started before there were credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CREDENTIALS:
            patch.delenv(name)
        forkserver._forkserver._stop()
        pool.prepare()
    bucket.put(str(tree) + "/", f"{BUCKET}/tree/", recursive=True)
    build(f"s3://{BUCKET}/tree", tmp_path / "s.h5", support_dir=support_dir, workers=1)
    assert (tmp_path / "s.h5").read_bytes() == local_store.read_bytes()


def test_check_and_verify_work_at_urls(bucket: Any, tree: Path, local_store: Path, support_dir: Path) -> None:
    bucket.put(str(tree) + "/", f"{BUCKET}/tree/", recursive=True)
    bucket.put(str(local_store), f"{BUCKET}/s.h5")
    check = check_inputs(BuildOptions(support_dir), f"s3://{BUCKET}/tree")
    assert [(row.dataset, row.recordings, row.problems) for row in check.datasets] == [("One", 2, 1), ("Two", 2, 0)]
    verification = verify(f"s3://{BUCKET}/s.h5", against=f"s3://{BUCKET}/tree", support_dir=support_dir, sample=5)
    assert verification.findings == ()
    assert verification.compared_frames > 0


def test_a_connection_that_dies_ends_a_build_and_skips_nothing(
    memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    fetch = type(memory).cat_file

    def cut(self: Any, path: str, *arguments: Any, **more: Any) -> Any:
        if path.endswith("sit.npz"):
            raise ConnectionResetError("the line went dead")
        return fetch(self, path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "cat_file", cut)
        with pytest.raises(UrlError, match=r"memory://tree/Two/in/y/sit.npz: cannot be read \(the line went dead\)"):
            build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    assert not (tmp_path / "s.h5").exists()
    build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == local_store.read_bytes()


def test_a_url_below_which_nothing_lies_is_named(memory: Any, support_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(AmassError, match=r"memory://.*nowhere.*: nothing lies there"):
        build("memory://nowhere", tmp_path / "s.h5", support_dir=support_dir)
