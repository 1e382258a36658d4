"""Sequences of different lengths: kept end to end, padded in batches of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np

from rnnkit.errors import CheckpointError, ConfigError, DataError

POOL_BATCHES = 32  # batches among which sequences are sorted by length
Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Ragged:
    """Sequences end to end.

    Attributes:
        values: (steps, ...) of any type; may be memory-mapped.
        ends: (sequences,) int64, where each sequence ends.
    """

    values: np.ndarray
    ends: np.ndarray

    @classmethod
    def join(cls, sequences: Iterable[np.ndarray], *, like: np.ndarray) -> Ragged:
        """Put sequences end to end; `like` (0, ...) gives the type and shape of a step where there is none."""
        parts = list(sequences)
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        return cls(np.concatenate([like[:0], *parts]).astype(like.dtype, copy=False), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.ends[index - 1] if index else 0 : self.ends[index]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """(sequences,) int64."""
        lengths = self.ends.copy()
        lengths[1:] -= self.ends[:-1]
        return lengths

    def padded(self, indices: Sequence[int] | np.ndarray, *, longest: int | None = None) -> tuple[np.ndarray, ...]:
        """Lay some sequences out as rows.

        Args:
            indices: Which.
            longest: Steps kept of each, from its beginning; None keeps all.

        Returns:
            (batch, time, ...) zero past each end, and (batch,) lengths.
        """
        parts = [self[index][:longest] for index in indices]
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        rows = np.zeros((len(parts), max(1, lengths.max(initial=0)), *self.values.shape[1:]), self.values.dtype)
        for row, part in zip(rows, parts, strict=True):
            row[: len(part)] = part
        return rows, lengths

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.npy and NAME-ends.npy."""
        np.save(folder / f"{name}.npy", self.values)
        np.save(folder / f"{name}-ends.npy", self.ends)

    @classmethod
    def write(cls, folder: Path, name: str, sequences: Iterable[np.ndarray], *, like: np.ndarray) -> Ragged:
        """Write what `save` would as the sequences come, so that they are never all in memory.

        Args:
            folder: Made if need be.
            name: Of the files.
            sequences: In order.
            like: (0, ...) of the type and shape of a step.

        Returns:
            The sequences, which stay on disk until they are used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lengths = []
        with (folder / f"{name}.npy").open("wb") as file:
            write_header(file, like, count=0)
            for one in sequences:
                file.write(np.ascontiguousarray(one, dtype=like.dtype).data)
                lengths.append(len(one))
            file.seek(0)
            write_header(file, like, count=sum(lengths))  # of the same length: numpy leaves room for the array to grow
        np.save(folder / f"{name}-ends.npy", np.cumsum(np.array(lengths, dtype=np.int64)))
        return cls.load(folder, name)

    @classmethod
    def load(cls, folder: Path, name: str) -> Ragged:
        """Read what `save` wrote; the values stay on disk until they are used.

        Returns:
            The sequences.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        return cls(load_array(folder / f"{name}.npy", mmap=True), load_array(folder / f"{name}-ends.npy"))


def write_header(file: BinaryIO, like: np.ndarray, *, count: int) -> None:
    """Write the head of a .npy file of `count` steps, each of the type and shape of those of `like`, (0, ...)."""
    described = np.lib.format.dtype_to_descr(like.dtype)
    shape = (count, *like.shape[1:])
    np.lib.format.write_array_header_1_0(file, {"descr": described, "fortran_order": False, "shape": shape})


def load_array(path: Path, *, mmap: bool = False) -> np.ndarray:
    """Read a .npy file without pickle.

    Args:
        path: The file.
        mmap: Whether its values stay on disk until they are used.

    Returns:
        The array.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path}: the encoded data cannot be read ({error}); start a new run.") from None


def cut_batches(lengths: np.ndarray, order: np.ndarray, *, batch_size: int, most_steps: int) -> Iterator[np.ndarray]:
    """Cut an order of sequences into batches that are neither too many nor, padded, too large.

    Args:
        lengths: (sequences,).
        order: Indices.
        batch_size: The most sequences of a batch.
        most_steps: The most padded steps of a batch; a single longer sequence stands alone.

    Yields:
        Indices of a batch.
    """
    first, longest = 0, 0
    for place, index in enumerate(order):
        grown = max(longest, int(lengths[index]))
        if place > first and (place - first == batch_size or grown * (place - first + 1) > most_steps):
            yield order[first:place]
            first, grown = place, int(lengths[index])
        longest = grown
    if first < len(order):
        yield order[first:]


def in_batches(lengths: np.ndarray, *, batch_size: int, most_steps: int) -> Iterator[np.ndarray]:
    """Give all sequences once, those of like length together, the longest first."""
    order = np.argsort(-lengths, kind="stable")
    yield from cut_batches(lengths, order, batch_size=batch_size, most_steps=most_steps)


class Buckets(Generic[Batch]):
    """Endless training batches of sequences of like length, in a new order every epoch.

    An epoch's order is drawn from (seed, epoch) alone: sequences are shuffled, sorted by length among POOL_BATCHES
    batches, cut, and the batches shuffled. Several processes take every so many-th sequence of a batch: some, or none.

    Args:
        lengths: (sequences,) steps of each.
        collate: Makes a batch of indices.
        batch_size: The most sequences of a batch, of all parts.
        most_steps: The most padded steps of a batch.
        seed: Of the order.
        part: Number of this process, from 0, and how many there are.

    Raises:
        DataError: If there are fewer sequences than processes.
        ConfigError: If `batch_size` is less than the number of processes.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        collate: Callable[[np.ndarray], Batch],
        *,
        batch_size: int,
        most_steps: int,
        seed: int,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if len(lengths) < part[1]:
            raise DataError(f"there are {len(lengths)} sequences to train on; expected at least {part[1]}.")
        if batch_size < part[1]:
            raise ConfigError(f"batch_size is {batch_size}; expected at least one a process, {part[1]}")
        self.lengths, self.collate, self.part = lengths, collate, part
        self.batch_size, self.most_steps, self.seed = batch_size, most_steps, seed
        self._begin(0)

    @property
    def progress(self) -> float:
        """Share of this epoch's batches already given out, in [0, 1)."""
        return self._place / len(self._batches)

    def next_chunk(self) -> Batch:
        """Return the next batch, running on into the next epoch for ever."""
        indices = self._batches[self._place]
        self._place += 1
        if self._place == len(self._batches):
            self._begin(self.epoch + 1)
        number, parts = self.part
        return self.collate(indices[number::parts])

    def state_dict(self) -> dict[str, Any]:
        """Return the place, JSON-able."""
        return {**self._identity(), "epoch": self.epoch, "place": self._place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a place.

        Raises:
            CheckpointError: If it is from other data or options.
        """
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"the saved place in the data has {name} {state.get(name)}, this run has {value}; "
                    "expected the same: start a new run."
                )
        self._begin(state["epoch"])
        self._place = state["place"]

    def _identity(self) -> dict[str, int]:
        return {"sequences": len(self.lengths), "batch_size": self.batch_size, "seed": self.seed}

    def _begin(self, epoch: int) -> None:
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(len(self.lengths))
        pool = POOL_BATCHES * self.batch_size
        batches: list[np.ndarray] = []
        for first in range(0, len(order), pool):
            some = order[first : first + pool]
            some = some[np.argsort(self.lengths[some], kind="stable")]
            batches += cut_batches(self.lengths, some, batch_size=self.batch_size, most_steps=self.most_steps)
        self._batches = [batches[place] for place in generator.permutation(len(batches))]
        self.epoch, self._place = epoch, 0
