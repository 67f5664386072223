"""What many tests need: made-up models and recordings, a demo, the command line."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner

from h36m_amass import synthetic
from h36m_amass.recordings import recording as amass
from tests.object_store import BUCKET, CREDENTIALS, ObjectStore, served
from tests.scenes import TEST_DATA, write_thin_support

if TYPE_CHECKING:
    from h36m_amass.demo import Demo

# Examples build whole body models: slow machines must not turn that into failures.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# What a shell's script starts in the background ignores Ctrl-C, and so would all commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Outcome:
    """What a command gave."""

    exit_code: int
    stdout: str
    stderr: str


SLOW_FOLDERS = {"cli", "conversion", "docs", "plot", "promises", "setup", "verification", "viewer"}
"""Folders of tests that start processes, draw, or build stores from start to end."""
SLOW_MODULES = {"test_families", "test_paths", "test_archives", "test_urls"}
"""Modules of other folders that do so."""
SLOW_FIXTURES = {"whole_support_dir", "amass_dir", "demo", "server"}
"""Whole body models, and a server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` what ``make test-fast`` skips."""
    for item in items:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        is_slow = folder in SLOW_FOLDERS or item.path.stem in SLOW_MODULES
        if is_slow or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what archives hold away from the user's cache folder, in processes that tests start, too."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("H36M_AMASS_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture
def cli() -> Callable[..., Outcome]:
    """Run ``h36m-amass ARGUMENTS`` in this process."""
    from h36m_amass.cli import app  # of no use to the tests of most rooms, which take longer with it

    def run(*arguments: object) -> Outcome:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Recordings whose frames have been read, as often as they have."""
    frames = amass.Recording.frames
    counts: Counter[str] = Counter()

    def counting_frames(recording: amass.Recording, *arguments: Any) -> Any:
        if arguments != (1, 0):  # which is a look at the first frame
            counts[Path(recording.name).name] += 1
        return frames(recording, *arguments)

    monkeypatch.setattr(amass.Recording, "frames", counting_frames)
    return counts


@pytest.fixture(scope="session")
def smplx_support(whole_support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole models, with SMPL-X's neutral model beside SMPL+H's. Not to be written to."""
    folder = tmp_path_factory.mktemp("smplx_support")
    for path in whole_support_dir.iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
    (folder / "body_models").mkdir()
    for path in (whole_support_dir / "body_models").iterdir():
        (folder / "body_models" / path.name).symlink_to(path)
    synthetic.write_smplx_support(folder, ["neutral"])
    return folder


@pytest.fixture(scope="session")
def whole_support_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up body models of all genders and a regressor. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole_support")
    synthetic.write_support_data(folder)
    return folder


@pytest.fixture(scope="session")
def support_dir(whole_support_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an eighth of the vertices, because every build loads 80 MB of a whole one. Not to be written to."""
    return write_thin_support(tmp_path_factory.mktemp("support"), whole_support_dir)


@pytest.fixture(scope="session")
def amass_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up AMASS tree of one-second recordings. Not to be written to."""
    folder = tmp_path_factory.mktemp("amass")
    synthetic.write_amass_tree(folder, seconds=1.0)
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once. Not to be written to."""
    from h36m_amass.demo import run_demo

    return run_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def real_amass() -> Path:
    """A tree with one real AMASS recording."""
    if not (TEST_DATA / "amass").is_dir():
        pytest.skip("H36M_AMASS_TEST_DATA names no folder with a real AMASS recording")
    return TEST_DATA / "amass"


@pytest.fixture(scope="session")
def server() -> Iterator[ObjectStore]:
    """An object store on this machine; one for all tests, because s3fs keeps its file systems, whatever the URL."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with served() as store:
        yield store


@pytest.fixture
def bucket(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system with an empty bucket."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in CREDENTIALS:
        monkeypatch.setenv(name, "word")
    files = fsspec.filesystem("s3")
    files.mkdir(BUCKET)
    server.forget()
    yield files
    files.rm(BUCKET, recursive=True)


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty file system in memory."""
    files = pytest.importorskip("fsspec").filesystem("memory")
    yield files
    files.rm("/", recursive=True)
