"""Memory of a dataloader and its workers in the middle of an epoch: ``reading_memory.py STORE WAY WORKERS METHOD``.

Prints the proportional set size (PSS) of this process and its workers together, in bytes: memory that processes
share counts once. WAY is ``store``, ``dictionaries`` or ``nothing``, a dataset of one tensor, for what Python and
torch take themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import readers
import torch
from common import pick
from torch.utils.data import DataLoader, TensorDataset

from h36m_amass import Store, WindowDataset, collate

LENGTH, BATCH_SIZE, BATCHES = 81, 256, pick(12, 2)


def pss(process: str) -> int:
    """Bytes of one process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main(path: str, way: str, workers: int, method: str) -> None:
    function = None
    dataset: torch.utils.data.Dataset[object]
    if way == "nothing":
        dataset = TensorDataset(torch.zeros(1, LENGTH, 17, 3).expand(BATCH_SIZE * BATCHES * 4, LENGTH, 17, 3))
    else:
        store = Store(path)
        ours = WindowDataset(store, LENGTH, stride=243)
        if way == "store":
            dataset, function = ours, collate
        else:
            names = [sequence.key for sequence in store.sequences]
            dictionaries = readers.Dictionaries.load(store)
            dataset = readers.Dictionaries(dictionaries, names, readers.windows_of(ours), LENGTH)
    loader = DataLoader(
        dataset,
        BATCH_SIZE,
        shuffle=True,
        collate_fn=function,
        num_workers=workers,
        multiprocessing_context=method if workers else None,
    )
    iterator = iter(loader)
    for _ in range(BATCHES):
        next(iterator)
    processes = [str(worker.pid) for worker in getattr(iterator, "_workers", [])]
    print(sum(pss(process) for process in ["self", *processes]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
