"""The path of a GPU without one: the same bytes as on a CPU, and in order on a stream that is as late as it may be."""

from __future__ import annotations

import gc
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from h36m_amass.body import folding, regressor
from h36m_amass.body import model as body_model
from h36m_amass.engine import on_cpu, on_gpu
from h36m_amass.engine.graphs import Replayed
from h36m_amass.engine.precision import reproducible
from h36m_amass.engine.run import Body, Positions, Run
from h36m_amass.engine.runs import pose_runs
from h36m_amass.engine.skinning import Skinner
from h36m_amass.engine.staging import Staging
from h36m_amass.recordings import resampling
from h36m_amass.recordings.resampling import exact_rate

LENGTHS = (5, 64, 200, 2, 33, 64, 64, 7, 150, 12, 64)  # frames of runs, some of several sizes of batches
LAUNCHES = {"body": 64, "all": 82}
"""Torch calls of a batch with DMPLs that start a kernel, by what moves: each costs some microseconds on a GPU."""
LAUNCHES_BESIDE = 16
"""Those of a run besides: to bring its frames there, to interpolate and to add the translation."""


@pytest.fixture(scope="module")
def folded(body: body_model.BodyModel, joints: regressor.JointRegressor) -> folding.FoldedRegressor:
    return folding.join([folding.fold(body, joints), folding.fold_skeleton(body)])


def counts(folded: folding.FoldedRegressor) -> tuple[int, int]:
    return 17, folded.num_joints - 17


def random_run(folded: folding.FoldedRegressor, frames: int, rate: float, seed: int, moving: str = "all") -> Run:
    """A run with soft tissue of `frames` frames at 100 Hz, seen at another rate."""
    rng = np.random.default_rng(seed)
    poses = rng.normal(scale=0.3, size=(frames, 3 * folded.num_body_bones)).astype(np.float32)
    if moving == "body":
        poses[:, 66:] = poses[0, 66:]
    outputs = resampling.resample(frames, exact_rate(100), exact_rate(rate))
    needed = resampling.needed_frames(outputs)
    dmpls = rng.normal(size=(frames, folded.num_dmpls)).astype(np.float32)
    return Run(poses, 100 * rng.normal(size=(frames, 3)), dmpls, needed, resampling.neighbours(outputs, needed))


@settings(max_examples=20)
@given(frames=st.integers(2, 64), rate=st.sampled_from([100.0, 50.0, 60.0, 59.94, 7.0, 240.0]), seed=st.integers(0, 99))
def test_what_a_gpu_is_asked_to_do_gives_the_bytes_of_the_cpu(
    folded: folding.FoldedRegressor, frames: int, rate: float, seed: int
) -> None:
    skinner, run = Skinner(folded, 64), random_run(folded, frames, rate, seed)
    assume(len(run.rows))
    body = Body(skinner, skinner.shape_terms(np.ones(folded.num_betas)), counts(folded))
    with reproducible():
        expected = on_cpu.begin(body, run)()
        with in_place_of_a_gpu():
            posed = on_gpu.begin(body, run)()
    for ours, theirs in zip(posed, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


class LateStream(TorchDispatchMode):
    """Does what torch is told to as late as a stream may: once an event is waited for, up to it and no further.

    What the host writes through NumPy happens at once. So all that it writes, or reads, too early shows in the joints.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: deque[Callable[[], object]] = deque()
        self.num_done, self.is_running = 0, False

    @property
    def position(self) -> int:
        return self.num_done + len(self.queue)

    @torch.inference_mode()
    def run_until(self, position: int) -> None:
        with self.at_once():
            while self.num_done < position:
                self.queue.popleft()()
                self.num_done += 1

    @contextmanager
    def at_once(self) -> Iterator[None]:
        self.is_running = True
        yield
        self.is_running = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        kwargs.pop("pin_memory", None)
        if self.is_running or func.is_view or not isinstance(args[0], torch.Tensor):
            return func(*args, **kwargs)  # now is its time, or it does nothing: a view, or memory that is taken
        if func._schema.is_mutable:
            self.queue.append(lambda: func(*args, **kwargs))
            return kwargs.get("out", args[0])
        specs = tree_map(lambda value: value.to("meta") if isinstance(value, torch.Tensor) else value, (args, kwargs))
        out = torch.full_like(func(*specs[0], **specs[1]), -7, device="cpu")
        self.queue.append(lambda: out.copy_(func(*args, **kwargs)))
        return out


@contextmanager
def in_place_of_a_gpu() -> Iterator[LateStream]:
    """A late stream that runs as a GPU's does, and that events belong to."""
    stream = LateStream()

    class Event:
        def __init__(self, blocking: bool) -> None:
            assert blocking

        def record(self, on: object) -> None:
            assert on is stream
            self.position = stream.position

        def synchronize(self) -> None:
            stream.run_until(self.position)

    with stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.cuda, "current_stream", lambda device: stream)
        patch.setattr(on_cpu, "begin", on_gpu.begin)
        yield stream


def pose_late(skinner: Skinner, *seeds: int, given_up: int | None = None) -> list[list[Positions]]:
    """Positions of recordings that are begun one after the other, each before the one before it is waited for.

    One may be `given_up` before them, while its second run is in flight.
    """
    folded = skinner.folded
    before: Iterator[Positions] = iter(())
    results = []
    with in_place_of_a_gpu(), reproducible():
        if given_up is not None:
            next(pose_runs(skinner, np.ones(folded.num_betas), recording(folded, given_up), counts(folded)))
        for seed in seeds:
            begun = pose_runs(skinner, np.full(folded.num_betas, seed), recording(folded, seed), counts(folded))
            results.append(list(before))
            before = begun
        results.append(list(before))
    return results[1:]


def recording(folded: folding.FoldedRegressor, seed: int) -> Iterator[Run]:
    for number, frames in enumerate(LENGTHS):
        yield random_run(folded, frames, 60.0, 100 * seed + number)


def pose_soon(folded: folding.FoldedRegressor, seed: int) -> list[Positions]:
    with reproducible():
        skinner = Skinner(folded, 256)
        return list(pose_runs(skinner, np.full(folded.num_betas, seed), recording(folded, seed), counts(folded)))


def same(some: list[Positions], others: list[Positions]) -> bool:
    return len(some) == len(others) == len(LENGTHS) and all(
        np.array_equal(ours, theirs)
        for one, another in zip(some, others, strict=True)
        for ours, theirs in zip(one, another, strict=True)
    )


def test_nothing_is_written_or_read_too_early(folded: folding.FoldedRegressor) -> None:
    skinner = Skinner(folded, 256)
    results = pose_late(skinner, 1, 2, 3)
    assert all(same(result, pose_soon(folded, seed)) for seed, result in zip((1, 2, 3), results, strict=True))
    assert len(skinner.workspace.idle) == 3  # two runs of a recording in flight, and one of the next


def test_a_recording_that_is_given_up_in_flight_harms_itself_alone(folded: folding.FoldedRegressor) -> None:
    assert same(pose_late(Skinner(folded, 256), 2, given_up=1)[0], pose_soon(folded, 2))


def one_shipment_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stagings: list[Staging] = []

    def one(device: torch.device) -> Staging:
        stagings[:] = stagings or [Staging(device)]
        return stagings[0]

    monkeypatch.setattr(on_gpu, "Staging", one)


def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Staging.wait

    def at_once(self: Staging, specs: Any) -> dict[str, np.ndarray]:
        monkeypatch.setattr(self._downloaded, "synchronize", lambda: None)
        return wait(self, specs)

    monkeypatch.setattr(Staging, "wait", at_once)


def fetched_before_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    run, send = on_gpu.Replayed.__call__, Staging.download

    def fetch_first(self: Staging, *arguments: Any) -> None:
        send(self, *arguments)
        run(waiting.pop())

    waiting: list[Any] = []
    monkeypatch.setattr(on_gpu.Replayed, "__call__", lambda program: waiting.append(program))
    monkeypatch.setattr(Staging, "download", fetch_first)


def idle_before_it_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Staging.upload

    def given_away(self: Staging, *arguments: Any) -> None:
        waiting.append(self)
        send(self, *arguments)

    waiting: list[Staging] = []
    monkeypatch.setattr(Staging, "upload", given_away)
    monkeypatch.setattr(on_gpu, "Staging", lambda device: waiting.pop() if waiting else Staging(device))


@pytest.mark.parametrize(
    "mutate", [one_shipment_for_all, no_wait, fetched_before_it_is_computed, idle_before_it_came_back]
)
def test_the_late_stream_notices(
    folded: folding.FoldedRegressor,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[pytest.MonkeyPatch], None],
) -> None:
    mutate(monkeypatch)
    try:
        results = pose_late(Skinner(folded, 256), 1, 2)
    except (IndexError, RuntimeError):  # what was overwritten held indices, or was for a run of another size
        return
    assert not all(same(result, pose_soon(folded, seed)) for seed, result in zip((1, 2), results, strict=True))


class Launches(TorchDispatchMode):
    """Counts the torch calls that would start a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("moving", LAUNCHES)
def test_a_batch_takes_no_more_torch_calls_than_it_did(
    body: body_model.BodyModel, joints: regressor.JointRegressor, moving: str
) -> None:
    skinner = Skinner(folding.fold(body, joints), 64)
    poses = random_run(skinner.folded, 8, 100.0, 1, moving).poses
    batch = skinner.batch(8, skinner.moving_classes(poses), True)
    with Launches() as launches:
        batch.run()
    assert launches.calls.total() <= LAUNCHES[moving]


def test_a_run_takes_no_more_torch_calls_than_it_did(
    body: body_model.BodyModel, joints: regressor.JointRegressor
) -> None:
    folded = folding.fold(body, joints)
    skinner = Skinner(folded, 64)
    program = on_gpu.Program(Body(skinner, np.zeros(0), (17,)), 64, 64, True)
    with Launches() as launches, torch.inference_mode():
        program.run()
    assert launches.calls.total() <= LAUNCHES["all"] + LAUNCHES_BESIDE


def test_a_skinner_that_nobody_uses_is_freed_at_once(folded: folding.FoldedRegressor) -> None:
    skinner = Skinner(folded, 256)
    pose_late(skinner, 1)
    assert skinner.programs
    left = weakref.ref(skinner), weakref.ref(skinner.workspace)
    gc.disable()
    try:
        del skinner
        assert [reference() for reference in left] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("joint_counts", [(17, 52), (69,)])
def test_runs_of_one_skinner_may_differ_in_soft_tissue_and_joint_sets(
    folded: folding.FoldedRegressor, joint_counts: tuple[int, ...]
) -> None:
    skinner = Skinner(folded, 64)
    betas = np.ones(folded.num_betas)
    runs = [random_run(folded, 40, 60.0, seed) for seed in range(3)]
    runs[1] = replace(runs[1], dmpls=None)
    with reproducible():
        expected = [next(pose_runs(Skinner(folded, 64), betas, [run], counts(folded))) for run in runs]
        with in_place_of_a_gpu():
            list(pose_runs(skinner, betas, runs[:1], counts(folded)))
            posed = list(pose_runs(skinner, betas, runs, joint_counts))
    for one, another in zip(posed, expected, strict=True):
        assert [positions.shape[1] for positions in one] == list(joint_counts)
        np.testing.assert_array_equal(np.concatenate(one, axis=1), np.concatenate(another, axis=1))


class Graph:
    """A CUDA graph of what is recorded while it is in use."""

    recording: Graph | None = None

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.num_replays = 0

    def replay(self) -> None:
        self.num_replays += 1
        for call in self.calls:
            call()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Graphs that are made in place of CUDA's: steps are recorded, and not run, while one is."""
    made: list[Graph] = []

    @contextmanager
    def recorded(graph: Graph, **options: Any) -> Iterator[None]:
        assert options["capture_error_mode"] == "thread_local"
        Graph.recording = graph
        try:
            yield
        finally:
            Graph.recording = None

    def new() -> Graph:
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", recorded)
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr("h36m_amass.engine.graphs._stream", lambda _: None)
    return made


def recordable(step: Callable[[], object]) -> Callable[[], object]:
    return lambda: step() if Graph.recording is None else Graph.recording.calls.append(step)


def test_steps_run_one_by_one_and_are_then_recorded_once_and_replayed(graphs: list[Graph]) -> None:
    ran: list[int] = []
    replayed = Replayed([recordable(partial(ran.append, number)) for number in range(3)], torch.device("cuda:0"))
    for times in range(1, 5):
        replayed()
        assert ran == [0, 1, 2] * times
        assert [graph.num_replays for graph in graphs] == ([] if times == 1 else [times - 1])


def test_what_ends_a_recording_is_not_hidden_by_its_end(graphs: list[Graph], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fails_at_its_end(graph: Graph, **_: Any) -> Iterator[None]:
        try:
            yield
        finally:
            raise torch.AcceleratorError("operation failed due to a previous error during capture")

    def step() -> None:
        if torch.cuda.graph is fails_at_its_end:
            raise torch.OutOfMemoryError("CUDA out of memory")

    replayed = Replayed([step], torch.device("cuda:0"))
    replayed()
    monkeypatch.setattr(torch.cuda, "graph", fails_at_its_end)
    with pytest.raises(torch.OutOfMemoryError):
        replayed()
