"""The order in which a dataloader visits windows: at random, with a share of each epoch for each dataset."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Sampler

from h36m_amass.datasets import same
from h36m_amass.training.windows import WindowDataset, WindowError

REST = "*"  # all datasets that have no weight of their own


class WindowSampler(Sampler[int]):
    """Numbers of windows in random order: the ``sampler`` of a `torch.utils.data.DataLoader`.

    Without `weights` each window comes once per epoch. With them, such as ``{"Human36M": 1, "*": 1}``, each dataset
    has its share of the epoch, to the window: weight over the sum of weights. ``"*"`` are all others together, in
    proportion to their windows. Windows of a dataset with more than its share are drawn anew each epoch without
    repeating; those of one with less come equally often, give or take one.

    The order depends on `seed`, `epoch` and the windows alone, whatever the number of a dataloader's workers. Set
    `epoch`, or call `set_epoch`, before each epoch's iterator is made, as for
    `h36m_amass.training.transforms.Seeded`, or all are the same.
    With `replicas` processes, as of torch's ``DistributedDataParallel``, each takes every replicas-th window from its
    `rank` on, of one common order; a few from its beginning come twice, so that all have equally many.

    Parameters
    ----------
    windows
        The dataset to be sampled.
    weights
        Weight of each dataset, under any of its names, from 0 on; of all that `windows` have, or with ``"*"``.
    num_samples
        Windows of an epoch of all processes together; as many as there are by default.

    Raises
    ------
    WindowError
        A weight is not a number, negative or not finite, names a dataset without windows, or is missing; all are 0;
        `num_samples` is less than 1; or a number is not whole.
    """

    def __init__(
        self,
        windows: WindowDataset,
        weights: Mapping[str, float] | None = None,
        *,
        num_samples: int | None = None,
        seed: int = 0,
        rank: int = 0,
        replicas: int = 1,
    ) -> None:
        for name, number in {"seed": seed, "rank": rank, "replicas": replicas, "num_samples": num_samples}.items():
            if number is not None and not isinstance(number, int | np.integer):
                raise WindowError(f"{name} {number!r} is not a whole number; give one")
        if not 0 <= rank < replicas:
            raise WindowError(f"rank {rank} of {replicas} processes does not exist; ranks are 0 to {replicas - 1}")
        if num_samples is not None and num_samples < 1:
            raise WindowError(f"num_samples {num_samples} must be at least 1")
        self.seed, self.epoch, self.rank, self.replicas = seed, 0, rank, replicas
        self.num_samples = len(windows) if num_samples is None else num_samples
        self._groups, shares = [torch.arange(len(windows))], [1.0]
        if weights is not None:
            self._groups, shares = _groups(windows, weights)
        # Ends are rounded, not counts, so that these add up.
        self._counts = np.diff(np.rint(np.cumsum([0.0, *shares]) * self.num_samples).astype(np.int64)).tolist()

    def set_epoch(self, epoch: int) -> None:
        """Set `epoch`, under the name that torch's samplers have and trainers call."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_samples // self.replicas)

    def __iter__(self) -> Iterator[int]:
        mixed = np.random.SeedSequence((self.seed % 2**64, self.epoch)).generate_state(1)  # torch takes 32 bits
        generator = torch.Generator().manual_seed(int(mixed[0]))
        drawn = [_drawn(group, count, generator) for group, count in zip(self._groups, self._counts, strict=True)]
        order = torch.cat(drawn)[torch.randperm(self.num_samples, generator=generator)]
        places = torch.arange(self.rank, len(self) * self.replicas, self.replicas) % self.num_samples
        yield from order[places].tolist()


def _groups(windows: WindowDataset, weights: Mapping[str, float]) -> tuple[list[Int[Tensor, "windows"]], list[float]]:
    """The windows of each weight that is not 0, and their share of an epoch."""
    if not weights:
        raise WindowError("weights name no dataset; name each, or '*' for all, or give none for each window once")
    wrong = [name for name, weight in weights.items() if not _is_weight(weight)]
    if wrong or not max(weights.values()):
        listed = ", ".join(f"{name} {weights[name]!r}" for name in wrong) or "all 0"
        raise WindowError(f"weights must be finite, not negative, and one above 0; they are {listed}")
    by_name = {name if name == REST else same(name): weight for name, weight in weights.items()}
    if len(by_name) < len(weights):
        raise WindowError(f"a dataset has two weights, under two of its names: {', '.join(weights)}; give it one")
    groups: dict[str, list[Tensor]] = {key: [] for key in by_name}
    for name, numbers in windows.datasets().items():
        key = same(name) if same(name) in groups else REST
        if key not in groups:
            raise WindowError(f"dataset {name} has no weight; give it one, or '*' for all that have none")
        groups[key].append(numbers)
    for name, key in zip(weights, by_name, strict=True):
        if by_name[key] and not groups[key]:
            known = ", ".join(windows.datasets())
            if name == REST:
                raise WindowError(f"'*' has a weight, but each dataset has one, too: {known}; give no '*'")
            raise WindowError(f"there are no windows of {name!r}, which has a weight; there are those of {known}")
    used = [key for key, weight in by_name.items() if weight]
    largest = max(by_name.values())  # by which weights are divided, because the sum of large ones is infinite
    total = sum(weight / largest for weight in by_name.values())
    return [torch.cat(groups[key]) for key in used], [by_name[key] / largest / total for key in used]


def _is_weight(weight: object) -> bool:
    return isinstance(weight, int | float | np.integer | np.floating) and 0 <= float(weight) < math.inf


def _drawn(group: Int[Tensor, "windows"], count: int, generator: torch.Generator) -> Int[Tensor, "drawn"]:
    """`count` of a group, each as often as any other or once more."""
    whole, rest = divmod(count, len(group))
    some = group[torch.randperm(len(group), generator=generator)[:rest]]
    return torch.cat([group.repeat(whole), some])
