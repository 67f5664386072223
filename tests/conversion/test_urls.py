"""Trees and stores at fsspec addresses: in its memory file system, and in a server of S3 on this machine."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass import Store, WindowDataset, build, verify
from h36m_amass.conversion.check import check_inputs
from h36m_amass.files import remote
from h36m_amass.files.remote import RemoteError
from h36m_amass.recordings.recording import AmassError
from h36m_amass.store import rows as store_frames
from h36m_amass.store.rows import StoreError
from tests.object_store import BUCKET, ObjectStore, served
from tests.scenes import recording, write
from tests.store.test_store import write as write_store
from tests.web_server import served_folder

fsspec = pytest.importorskip("fsspec")
MANY = {"A/1/x": 20_000, "A/2/y": 20_000}


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with served() as store:
        yield store


@pytest.fixture
def bucket(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system with an empty bucket."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "name",
        "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3")
    files.mkdir(BUCKET)
    server.forget()
    yield files
    files.rm(BUCKET, recursive=True)


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree with something of each kind: recordings, a damaged one, and what is none."""
    folder = tmp_path_factory.mktemp("tree")
    for number, place_in_tree in enumerate(("One/s 1/walk", "One/s 1/run", "Two/in/x/jump", "Two/in/y/sit")):
        write(folder / f"{place_in_tree}.npz", recording(60 + number, number))
    (folder / "One/s 1/shape.npz").write_bytes(b"none")
    (folder / "One/s 1/broken.npz").write_bytes(b"no zip archive")
    (folder / "Two/LICENSE.txt").write_text("free")
    return folder


@pytest.fixture(scope="module")
def local_store(tree: Path, support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "local.h5"
    build(tree, path, support_dir=support_dir)
    return path


def test_a_server_that_refuses_a_file_ends_a_build(tree: Path, support_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with (
        served_folder(tree, refused=frozenset({"sit.npz"})) as url,
        pytest.raises(RemoteError, match=r"sit.npz: cannot be read \(403"),
    ):
        build(url, tmp_path / "s.h5", support_dir=support_dir)


def test_a_tree_at_an_address_gives_the_same_bytes(
    memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    local = build(tree, tmp_path / "local.h5", support_dir=support_dir)
    far = build("memory://tree", tmp_path / "far.h5", support_dir=support_dir)
    assert (tmp_path / "far.h5").read_bytes() == local_store.read_bytes()
    assert (far.left_out, far.ignored, far.datasets) == (local.left_out, local.ignored, local.datasets)
    assert [left.path for left in far.left_out] == ["One/s 1/broken.npz"]


def test_keys_that_lead_out_of_the_tree_are_left_out(
    memory: Any, tree: Path, support_dir: Path, tmp_path: Path
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    for name in ("back\\slash.npz", "../../out.npz"):
        memory.store[f"/tree/One/s 1/{name}"] = memory.store["/tree/One/s 1/walk.npz"]
    report = build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    left_out = {left.path: left.reason for left in report.left_out if "leads out" in left.reason}
    assert set(left_out) == {"One/s 1/back\\slash.npz", "One/s 1/../../out.npz"}


@pytest.mark.parametrize("ending", ["tar", "zip", "tar.bz2"])
def test_archives_at_addresses_are_streamed(
    ending: str, memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    memory.put(str(tree / "Two"), "/tree/Two", recursive=True)
    archive = tmp_path / f"One.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted((tree / "One").rglob("*.npz")):
                packed.write(path, path.relative_to(tree / "One"))
    else:
        with tarfile.open(archive, f"w:{ending.partition('.')[2]}") as tar:
            tar.add(tree / "One", ".")
    memory.put(str(archive), f"/tree/{archive.name}")
    build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == local_store.read_bytes()


def test_a_recording_is_fetched_once_to_be_converted_and_a_little_of_it_before(
    bucket: Any, server: ObjectStore, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    arrays = recording(700, 9)
    write(tmp_path / "more/Three/s/long.npz", arrays)
    for folder in (tree, tmp_path / "more"):
        bucket.put(str(folder) + "/", f"{BUCKET}/tree/", recursive=True)
    total = sum(path.stat().st_size for folder in (tree, tmp_path / "more") for path in folder.rglob("*.npz"))
    build(f"s3://{BUCKET}/tree", tmp_path / "all.h5", support_dir=support_dir)
    server.forget()
    build(f"s3://{BUCKET}/tree", tmp_path / "s.h5", support_dir=support_dir)
    listings = [size for _, path, size in server.requests if not path.endswith(".npz")]
    assert len(listings) == 4  # of the folder, and of each of three datasets
    assert not server.of("HEAD")
    blocks = 5 * 6 * remote.BLOCK  # of each recording a few for its arrays' headers
    assert total < sum(server.of("GET")) - sum(listings) < total + blocks
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "all.h5").read_bytes()
    shutil.copytree(tree, tmp_path / "more", dirs_exist_ok=True)
    build(tmp_path / "more", tmp_path / "local.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "local.h5").read_bytes()


def test_check_and_verify_work_at_addresses(bucket: Any, tree: Path, local_store: Path, support_dir: Path) -> None:
    bucket.put(str(tree) + "/", f"{BUCKET}/tree/", recursive=True)
    bucket.put(str(local_store), f"{BUCKET}/s.h5")
    found = check_inputs(support_dir, amass_dir=f"s3://{BUCKET}/tree")
    assert [(row.dataset, row.recordings, row.problems) for row in found.datasets] == [("One", 2, 1), ("Two", 2, 0)]
    verification = verify(f"s3://{BUCKET}/s.h5", against=f"s3://{BUCKET}/tree", support_dir=support_dir, sample=5)
    assert verification.findings == ()
    assert verification.compared_frames > 0


@pytest.mark.parametrize("when", ["planning", "converting"])
def test_an_interrupted_connection_ends_a_build_and_leaves_nothing_out(
    when: str, memory: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    whole = type(memory).cat_file

    def cut(self: Any, path: str, start: int | None = None, end: int | None = None, **more: Any) -> Any:
        is_whole = (start, end) == (0, (tree / "Two/in/y/sit.npz").stat().st_size)
        if path.endswith("sit.npz") and is_whole == (when == "converting"):
            raise ConnectionResetError("the line went dead")
        return whole(self, path, start, end, **more)

    monkeypatch.setattr(type(memory), "cat_file", cut)
    with pytest.raises(RemoteError, match=r"memory://tree/Two/in/y/sit.npz: cannot be read \(the line went dead\)"):
        build("memory://tree", tmp_path / "s.h5", support_dir=support_dir)
    assert not (tmp_path / "s.h5").exists()


def test_opening_a_store_is_no_download_and_windows_are_a_few_ranges(
    bucket: Any, server: ObjectStore, tmp_path: Path
) -> None:
    positions = write_store(tmp_path / "s.h5", MANY)
    bucket.put(str(tmp_path / "s.h5"), f"{BUCKET}/s.h5")
    server.forget()
    store = Store(f"s3://{BUCKET}/s.h5")
    size = (tmp_path / "s.h5").stat().st_size
    assert len(server.of("GET")) <= 6
    assert sum(server.of("GET")) < size / 20
    server.forget()
    np.testing.assert_array_equal(store[1].positions_3d[7_000:7_081], positions[27_000:27_081])
    row = 17 * 3 * 4
    assert len(server.of("GET")) <= 2  # one more where HDF5 has put something between two chunks
    assert 81 * row <= sum(server.of("GET")) <= 81 * row + remote.MAX_GAP
    server.forget()
    windows = WindowDataset(store, 81)
    windows.__getitems__(range(0, 40))  # they overlap
    assert len(server.of("GET")) == 1
    assert 120 * row <= sum(server.of("GET")) <= 120 * row + remote.MAX_GAP


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("stride", [1, 3])
def test_windows_are_those_of_the_file(compression: str, stride: int, memory: Any, tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5", {"A/1/x": 3_000, "A/1/y": 2_000}, compression=compression)
    memory.put(str(tmp_path / "s.h5"), "/s.h5")
    numbers = np.random.default_rng(0).integers(0, 4_000, 50).tolist()
    near, far = (
        WindowDataset(Store(place), 27, stride=stride, padding="edge").__getitems__(numbers).batch
        for place in (tmp_path / "s.h5", "memory://s.h5")
    )
    for name, values in near.items():
        assert (far[name] == values).all(), name


def test_what_is_fetched_at_once_is_bounded(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_frames, "BYTES_AT_ONCE", 40_000)
    fetched: list[int] = []

    def noting(file: remote.RemoteFile, starts: list[int], stops: list[int]) -> list[bytes]:
        fetched.append(sum(stops) - sum(starts))
        return remote.ranges(file, starts, stops)

    monkeypatch.setattr(store_frames, "ranges", noting)
    positions = write_store(tmp_path / "s.h5", MANY)
    memory.put(str(tmp_path / "s.h5"), "/s.h5")
    store = Store("memory://s.h5")
    starts = np.arange(0, 40_000, 1_000)
    frames = np.empty((10 * len(starts), 17, 3), np.float32)
    store.read_runs(starts, frames, np.arange(len(starts)) * 10, np.arange(1, len(starts) + 1) * 10)
    np.testing.assert_array_equal(frames, np.concatenate([positions[start : start + 10] for start in starts]))
    assert sum(fetched) == frames.nbytes
    assert 1 < len(fetched) < 5
    assert max(fetched) < 40_000 + 10 * 17 * 12


def test_a_store_at_an_address_travels_to_other_processes(bucket: Any, tmp_path: Path) -> None:
    positions = write_store(tmp_path / "s.h5", {"A/1/x": 600})
    bucket.put(str(tmp_path / "s.h5"), f"{BUCKET}/s.h5")
    store = Store(f"s3://{BUCKET}/s.h5")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(5, 6), positions[5:6])  # noqa: S301  # own
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(methodcaller("read", 5, 6), [store]), positions[5:6])


def test_another_object_in_its_place_is_noticed(memory: Any, tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5", {"A/1/x": 600})
    memory.put(str(tmp_path / "s.h5"), "/s.h5")
    store = Store("memory://s.h5")
    memory.put(str(tmp_path / "s.h5"), "/s.h5")
    with pytest.raises(StoreError, match="is another file than when it was opened"):
        store.read(0, 1)
    memory.rm("/s.h5")
    with pytest.raises(StoreError, match="is gone since"):
        store.read(0, 1)
    with pytest.raises(StoreError, match="there is no such store"):
        Store("memory://s.h5")


def _all_of(store: str) -> np.ndarray:
    with Store(store) as opened:
        return opened.read(0, opened.num_frames)


def test_what_cannot_be_reached_is_one_line(cli: Callable[..., Any]) -> None:
    for address, reason in {
        "nothing://bucket/s.h5": "Protocol not known: nothing",
        "http://127.0.0.1:9/s.h5": "Cannot connect",
    }.items():
        outcome = cli("info", address)
        assert outcome.exit_code == 1
        assert outcome.stderr.startswith(f"error: {address}: cannot be ")
        assert reason in outcome.stderr
        assert outcome.stderr.count("\n") == 1


def test_a_missing_extra_is_one_line() -> None:
    program = "import sys; sys.modules['s3fs'] = None; from h36m_amass.cli import app; app()"
    line = [sys.executable, "-c", program, "info", "s3://bucket/s.h5"]
    done = subprocess.run(line, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'h36m-amass[remote]'" in done.stderr


def test_an_address_below_which_nothing_lies_is_named(memory: Any, support_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(AmassError, match="memory://nowhere: nothing lies there"):
        build("memory://nowhere", tmp_path / "s.h5", support_dir=support_dir)


def test_without_an_address_fsspec_is_not_imported(local_store: Path, tree: Path) -> None:
    program = (
        "import sys; from h36m_amass import Store; from h36m_amass.conversion.planning import make_plan; "
        "from h36m_amass.recordings.tree import find_sequences; from pathlib import Path; "
        "Store(sys.argv[1]).read(0, 1); make_plan(Path(sys.argv[2]), find_sequences(Path(sys.argv[2]))); "
        "sys.exit('fsspec' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, local_store, tree], check=False).returncode == 0
