"""Trees and stores at fsspec addresses: in its memory file system, and in a server of S3 on this machine."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h36m_amass import Shard, Store, WindowDataset, build, verify
from h36m_amass.conversion import options as build_options
from h36m_amass.conversion.check import check_inputs
from h36m_amass.conversion.options import BuildError
from h36m_amass.files import remote
from h36m_amass.files.remote import Address, RangeReader, RemoteError, place
from h36m_amass.recordings.recording import AmassError
from h36m_amass.store import rows as store_frames
from h36m_amass.store.rows import RemoteFrameReader, StoreError
from tests.object_store import BUCKET, ObjectStore, served
from tests.scenes import recording, write
from tests.store.test_split import LENGTHS, SIZE
from tests.store.test_split import write as write_split
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


def test_an_address_is_told_from_a_path_and_keeps_its_secrets() -> None:
    assert place("data/amass") == place(Path("data/amass")) == Path("data/amass")
    address = place("s3://bucket/amass")
    assert isinstance(address, Address)
    assert str(address / "CMU/01/a.npz") == "s3://bucket/amass/CMU/01/a.npz"
    assert (address.name, (address / "a.h5").stem) == ("amass", "a")
    web = Address("https://me:secret@host/amass?token=secret")
    assert str(web) == "https://host/amass"
    assert repr(web) == "Address('https://host/amass')"
    assert str(place("webdav://me:secret@host/amass?token=secret")) == "webdav://host/amass"
    assert (web / "My DS.zip").name == "My DS.zip"
    assert (web / "My DS.zip").with_name("a b").url == "https://me:secret@host/amass/a%20b?token=secret"
    assert (web / "s 1/a.npz").url == "https://me:secret@host/amass/s%201/a.npz?token=secret"


def test_errors_of_backends_keep_secrets_however_they_write_an_address(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Address("https://me:secret@host/a b?token=se cret%2F1")
    told = (
        "404, url='https://me:secret@host/a%20b?token=se+cret/1' of https://me:secret@host/a b?token=se cret%2F1, "
        "moved to https://other/x?signature=secret (token=se cret/1)"
    )

    def fail(*_: Any) -> None:
        raise ConnectionResetError(told)

    monkeypatch.setattr(remote, "_filesystem", lambda _: (type("", (), {"info": fail, "invalidate_cache": id}), ""))
    with pytest.raises(RemoteError, match="url='https://host/a%20b' of https://host/a b, moved") as failed:
        remote.stat(address)
    for secret in ("secret", "se cret", "se+cret"):
        assert secret not in str(failed.value)


@pytest.mark.parametrize(("token", "slash"), [("", False), ("token=a/b%20c", False), ("token=a/b%20c", True)])
def test_a_tree_on_the_web_gives_the_same_bytes(
    tree: Path, support_dir: Path, tmp_path: Path, token: str, slash: bool
) -> None:
    pytest.importorskip("aiohttp")
    shutil.copytree(tree, tmp_path / "tree/am ass")
    write(tmp_path / "My DS/s/x.npz", recording(50, 7))
    with zipfile.ZipFile(tmp_path / "tree/am ass/My DS.zip", "w") as packed:
        packed.write(tmp_path / "My DS/s/x.npz", "s/x.npz")
    local = build(tmp_path / "tree/am ass", tmp_path / "local.h5", support_dir=support_dir)
    with served_folder(tmp_path / "tree", token, slash=slash) as url:
        amass_dir = str((Address(url) / "am ass").url)
        report = build(amass_dir, tmp_path / "s.h5", support_dir=support_dir)
    assert (tmp_path / "s.h5").read_bytes() == (tmp_path / "local.h5").read_bytes()
    assert (report.left_out, report.ignored) == (local.left_out, local.ignored)
    with served_folder(tmp_path, token) as url:
        np.testing.assert_array_equal(
            Store((Address(url) / "s.h5").url).read(5, 9), Store(tmp_path / "s.h5").read(5, 9)
        )


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


def test_a_recording_that_is_gone_is_a_finding(memory: Any, tree: Path, local_store: Path, support_dir: Path) -> None:
    memory.put(str(tree), "/tree", recursive=True)
    memory.rm("/tree/Two/in/y/sit.npz")
    found = verify(local_store, against="memory://tree", support_dir=support_dir, sample=200)
    assert found.findings == ("memory://tree/Two/in/y/sit.npz: is not there any more",)


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


def test_ranges_are_joined_where_few_bytes_lie_between() -> None:
    assert list(remote.joined([0, 10, 30], [8, 20, 40], gap=5)) == [(0, 2), (2, 3)]
    assert list(remote.joined([], [])) == []


def test_a_range_reader_is_the_file(memory: Any) -> None:
    content = np.random.default_rng(0).bytes(3 * remote.BLOCK + 100)
    memory.pipe_file("/file", content)
    reader = RangeReader(remote.stat(Address("memory://file")))
    rng = np.random.default_rng(1)
    for start, length in rng.integers(0, len(content), (50, 2)).tolist():
        reader.seek(start)
        assert reader.read(length) == content[start : start + length]
    reader.seek(0)
    assert reader.read() == content


def test_no_more_is_held_of_a_file_than_is_told(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_HELD", 4 * remote.BLOCK)
    memory.pipe_file("/file", bytes(64 * remote.BLOCK))
    reader = RangeReader(remote.stat(Address("memory://file")))
    reader.read(16 * remote.BLOCK)
    for number in (60, 50, 40):
        reader.seek(number * remote.BLOCK)
        reader.read(1)
    whole = {id(own): own for own in (memoryview(block).obj for block in reader._blocks.values())}
    assert sum(map(len, whole.values())) <= remote.MAX_HELD  # type: ignore[arg-type]


def test_many_runs_take_a_time_that_grows_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_frames, "ranges", lambda _, starts, stops: [bytes(12)] * len(starts))
    monkeypatch.setattr(RemoteFrameReader, "_check", lambda _: None)
    rows = np.arange(20_000)
    file = remote.RemoteFile(Address("memory://s.h5"), 0, 0)
    reader = RemoteFrameReader(file, (1, 3), rows, rows * 2 * remote.MAX_GAP)
    began = time.process_time()
    reader.read_runs(rows, np.empty((len(rows), 1, 3), np.float32), rows, rows + 1)
    assert time.process_time() - began < 5  # a fiftieth is enough; a minute is not if it grows with the square


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


def test_a_store_is_built_at_an_address(
    bucket: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    address = f"s3://{BUCKET}/out/s.h5"
    build(tree, address, support_dir=support_dir, work_dir=tmp_path)
    assert bucket.cat_file(f"{BUCKET}/out/s.h5") == local_store.read_bytes()
    assert bucket.find(BUCKET) == [f"{BUCKET}/out/s.h5"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BuildError, match=r"out/s.h5: is already there; replace it with --overwrite"):
        build(tree, address, support_dir=support_dir, work_dir=tmp_path)
    report = build(tree, address, support_dir=support_dir, work_dir=tmp_path, update=True)
    assert report.reused > 0
    assert bucket.cat_file(f"{BUCKET}/out/s.h5") == local_store.read_bytes()
    with pytest.raises(RemoteError, match="no such bucket"):
        build(tree, "s3://nobodys/s.h5", support_dir=support_dir, work_dir=tmp_path)


def test_whether_an_address_can_be_written_is_tried_without_getting_in_the_way(memory: Any) -> None:
    address = Address("memory://s.h5")
    running = remote.unfinished(address)
    assert running is not None
    memory.pipe_file(f"/{running.name}", b"half of it")
    tried: list[str] = []
    whole = type(memory).pipe_file

    def pipe_file(self: Any, path: str, value: bytes, **more: Any) -> None:
        whole(self, path, value, **more)
        tried.append(path)
        if len(tried) == 1:
            remote.check_writable(address)  # of another build, in between

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "pipe_file", pipe_file)
        remote.check_writable(address)
    assert len(set(tried)) == 2
    assert {path: memory.cat_file(path) for path in memory.find("/")} == {f"/{running.name}": b"half of it"}


def test_unfinished_names_stand_before_a_token() -> None:
    temporary = remote.unfinished(Address("https://host/a.h5?token=x"))
    assert temporary is not None
    assert temporary.url == "https://host/a.h5.h36m-amass-tmp?token=x"


def test_what_is_there_is_whole_until_the_new_store_is(
    memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/s.h5", b"the old one")

    def half(self: Any, local: str, path: str, **more: Any) -> None:
        self.store[path] = type(self.store["/s.h5"])(self, path, Path(local).read_bytes()[:100])
        raise OSError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", half)
        with pytest.raises(RemoteError, match="cannot be written") as failed:
            build(tree, "memory://s.h5", support_dir=support_dir, work_dir=tmp_path, overwrite=True)
    assert memory.cat_file("/s.h5") == b"the old one"
    assert "kept in" in failed.value.__notes__[0]
    report = build(tree, "memory://s.h5", support_dir=support_dir, work_dir=tmp_path, overwrite=True)
    assert report.reused > 0
    assert memory.cat_file("/s.h5") == local_store.read_bytes()
    assert memory.find("/") == ["/s.h5"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_windows_of_a_split_store_are_those_of_the_files(compression: str, memory: Any, tmp_path: Path) -> None:
    write_split(tmp_path / "s.h5", LENGTHS, SIZE, compression)
    for path in tmp_path.glob("*.h5"):
        memory.put(str(path), f"/far/{path.name}")
    near, far = Store(tmp_path / "s.h5"), Store("memory://far/s.h5")
    assert len(far.data_files) == len(near.data_files) > 2
    np.testing.assert_array_equal(far.read(0, sum(LENGTHS)), near.read(0, sum(LENGTHS)))
    numbers = np.random.default_rng(0).integers(0, sum(LENGTHS), 50).tolist()
    for stride in (1, 3):
        expected, found = (
            WindowDataset(store, 27, stride=stride, padding="edge").__getitems__(numbers).batch for store in (near, far)
        )
        for name, values in expected.items():
            assert (found[name] == values).all(), name
    lost = far.data_files[1].path
    assert isinstance(lost, Address)
    memory.rm(f"/far/{lost.name}")
    with pytest.raises(StoreError, match=f"{lost.name}: is missing"):
        Store("memory://far/s.h5")


def test_a_split_store_at_an_address_takes_no_download_to_open(
    bucket: Any, server: ObjectStore, tmp_path: Path
) -> None:
    expected = write_split(tmp_path / "s.h5", [20_000] * 4, 10**7)
    for path in tmp_path.glob("*.h5"):
        bucket.put(str(path), f"{BUCKET}/{path.name}")
    size = sum(path.stat().st_size for path in tmp_path.glob("*.h5"))
    server.forget()
    store = Store(f"s3://{BUCKET}/s.h5")
    assert sum(server.of("GET")) < size / 20
    server.forget()
    np.testing.assert_array_equal(store.read(39_990, 40_071), expected[39_990:40_071])  # of two files
    assert sum(server.of("GET")) < size / 20
    findings = verify(f"s3://{BUCKET}/s.h5").findings
    assert all("bones do not stretch so" in finding for finding in findings)  # they are of noise


def test_a_split_store_is_built_at_an_address_and_replaces_another(
    memory: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_options, "MIN_SPLIT_SIZE", 1)
    (tmp_path / "near").mkdir()

    def built(where: str | Path, seed: int, **options: Any) -> None:
        write(tmp_path / f"tree{seed}/One/s/walk.npz", recording(70, seed))
        write(tmp_path / f"tree{seed}/One/s/run.npz", recording(90, seed))
        build(tmp_path / f"tree{seed}", where, support_dir=support_dir, overwrite=True, **options)

    memory.pipe_file("/s-00001-0123456789ab.h5", b"of somebody else")
    whole = type(memory).put_file
    for seed, split_size, dies_at in (
        (1, 10_000, None),
        (2, 10_000, "s-00002"),
        (2, 10_000, "s.h5"),
        (2, 10_000, None),
        (3, None, None),
    ):

        def put_file(self: Any, local: str, path: str, dies_at: str | None = dies_at, **more: Any) -> None:
            if dies_at and Path(path).name.startswith(dies_at):
                self.pipe_file(path, Path(local).read_bytes()[:1000])
                raise OSError("the line went dead")
            whole(self, local, path, **more)

        monkeypatch.setattr(type(memory), "put_file", put_file)
        if dies_at:
            before = _all_of("memory://s.h5"), memory.find("/")
            with pytest.raises(RemoteError, match="the line went dead"):
                built("memory://s.h5", seed, split_size=split_size, work_dir=tmp_path)
            np.testing.assert_array_equal(_all_of("memory://s.h5"), before[0])
            assert memory.find("/") == before[1]
            continue
        built("memory://s.h5", seed, split_size=split_size, work_dir=tmp_path)
        built(tmp_path / "near/s.h5", seed, split_size=split_size)
        expected = {path.name: path.read_bytes() for path in (tmp_path / "near").glob("*.h5")}
        assert (len(expected) > 1) == (split_size is not None)
        found = {Path(path).name: memory.cat_file(path) for path in memory.find("/")}
        assert found == {**expected, "s-00001-0123456789ab.h5": b"of somebody else"}
        assert not list(tmp_path.glob("s.h5*"))


def _all_of(store: str) -> np.ndarray:
    with Store(store) as opened:
        return opened.read(0, opened.num_frames)


@pytest.mark.parametrize("has_old", [False, True])
def test_a_line_that_stays_dead_does_not_hide_what_was_interrupted(
    has_old: bool, memory: Any, tree: Path, support_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_options, "MIN_SPLIT_SIZE", 1)
    options: dict[str, Any] = {"support_dir": support_dir, "work_dir": tmp_path, "split_size": 10_000}
    if has_old:
        build(tree, "memory://a/s.h5", frame_rate=25.0, **options)
    old = set(memory.find("/a"))
    whole, arrived = type(memory).put_file, list[str]()

    def dead(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("nobody answers")

    with monkeypatch.context() as patch:

        def put_file(self: Any, local: str, path: str, **more: Any) -> None:
            if not arrived:
                whole(self, local, path, **more)
                arrived.append(path)
                return
            self.pipe_file(path, b"half")
            for name in ("cat_file", "info", "rm_file"):
                patch.setattr(type(memory), name, dead)
            raise ConnectionResetError("the line went dead")

        patch.setattr(type(memory), "put_file", put_file)
        with pytest.raises(RemoteError, match=r"cannot be written \(the line went dead\)") as failed:
            build(tree, "memory://a/s.h5", overwrite=True, **options)
    assert "kept in" in failed.value.__notes__[0]
    left = {path.name for path in (tmp_path / "s.h5.parts").iterdir() if path.suffix != ".part"}
    assert left == {"data-files.json"}
    assert len(memory.find("/a")) == len(old) + 2
    write(tmp_path / "more/One/s/walk.npz", recording(70, 9))
    build(tmp_path / "more", "memory://b/s.h5", **options)  # which has the same folder for its parts
    build(tmp_path / "more", "memory://a/s.h5", overwrite=True, **options)
    store = Store("memory://a/s.h5")
    assert {Path(path).name for path in memory.find("/a")} == {"s.h5", *(own.path.name for own in store.data_files)}
    assert not list(tmp_path.glob("s.h5*"))


def test_shards_of_a_store_at_an_address_meet_in_the_work_folder(
    memory: Any, tree: Path, local_store: Path, support_dir: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "pipe_file", None)  # a shard does not even try to write there
        for number in (2, 1):
            build(tree, "memory://s.h5", support_dir=support_dir, work_dir=tmp_path, shard=Shard(number, 2))
            assert memory.find("/") == []
    report = build(tree, "memory://s.h5", support_dir=support_dir, work_dir=tmp_path)
    assert report.reused == 4
    assert memory.cat_file("/s.h5") == local_store.read_bytes()
    assert list(tmp_path.iterdir()) == []


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
