"""Archives read by threads of this process; their batches become tasks.

Decompression leaves the interpreter alone, so the threads use other cores while the workers convert what they gave.
What lies in scratch files at a time is bounded: when the workers are behind, the threads wait.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from h36m_amass.conversion.tasks import ArchiveWork, Job, Task, TaskResult
from h36m_amass.conversion.unpack import BATCH_BYTES, Unpacked
from h36m_amass.files.tar_reading import useful_threads
from h36m_amass.system.devices import usable_cores

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 1.0


class _StoppedError(Exception):
    """The build does not go on."""


class ArchiveFeeds:
    """Reads archives, the largest first, each once; a limited number of batches wait for workers in scratch files."""

    def __init__(self, job: Job, archives: Sequence[ArchiveWork], batches_ahead: int) -> None:
        self.news = threading.Event()  # set when a task or an archive is ready
        self._max_bytes = batches_ahead * BATCH_BYTES
        self._room = threading.Condition()
        self._held = 0
        self._tasks: deque[Task] = deque()
        self._uses: Counter[Path | None] = Counter()
        self._ended: deque[Unpacked] = deque()
        self._errors: list[BaseException] = []
        self._stopped = False
        # As many at a time as have threads for all cores: with more, the threads are in each other's way.
        largest_first = sorted(archives, key=lambda work: (-work.archive.size, work.archive.name))
        cores = usable_cores()
        threads = [useful_threads(job.amass_dir / work.archive.name, cores) for work in largest_first]
        num_at_once = min(len(threads), max(1, cores * len(threads) // max(1, sum(threads))))
        self._passes = [Unpacked(job, *each, self._check) for each in zip(largest_first, threads, strict=True)]
        self._waiting = deque(self._passes)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(num_at_once)]
        for thread in self._threads:
            thread.start()

    @property
    def are_open(self) -> bool:
        """Whether a task or an archive may come yet."""
        alive = any(thread.is_alive() for thread in self._threads)  # asked first: what comes last comes before the end
        return alive or bool(self._tasks or self._ended or self._errors)

    @property
    def position(self) -> int:
        """Bytes of the archives that were read."""
        return sum(unpacked.position for unpacked in self._passes)

    def next_task(self) -> Task | None:
        """A task that is ready; raises what went wrong in a thread."""
        if self._errors:
            raise self._errors[0]
        return self._tasks.popleft() if self._tasks else None

    def ended_archives(self) -> Iterator[tuple[Task, TaskResult]]:
        """Archives that were read since the last call, each as a task without rows."""
        while self._ended:
            unpacked = self._ended.popleft()
            yield Task(archive=unpacked.work), TaskResult(listing=unpacked.listing)

    def split(self, task: Task, into: Sequence[Task]) -> None:
        """Note that a task of a scratch file runs again as several."""
        if task.scratch is not None:
            self._uses[task.scratch] += len(into) - 1

    def ended(self, task: Task) -> None:
        """Remove a task's scratch file when no other task needs it."""
        if task.scratch is None:
            return
        self._uses[task.scratch] -= 1
        if self._uses[task.scratch] == 0:
            del self._uses[task.scratch]
            size = task.scratch.stat().st_size
            task.scratch.unlink()
            with self._room:
                self._held -= size
                self._room.notify_all()

    def stop(self) -> None:
        """End the threads, whatever they are at."""
        self._stopped = True
        for thread in self._threads:
            thread.join(SECONDS_TO_END)

    def _check(self) -> None:
        if self._stopped:
            raise _StoppedError

    def _work(self) -> None:
        try:
            while self._waiting:
                unpacked = self._waiting.popleft()
                for batch in unpacked.batches():
                    with self._room:
                        while self._held and self._held + batch.size > self._max_bytes:
                            self._room.wait(SECONDS_BETWEEN_LOOKS)
                            self._check()
                        self._held += batch.size
                    self._uses[batch.scratch] = 1
                    self._tasks.append(batch)
                    self.news.set()
                self._ended.append(unpacked)
                self.news.set()
        except _StoppedError:
            return
        except Exception as error:  # noqa: BLE001 (whatever it is, the build's own thread raises it)
            self._errors.append(error)
        finally:
            self.news.set()
