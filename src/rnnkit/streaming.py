"""Live sequences: push what has arrived, get events, save the state and go on elsewhere; many of them as one batch."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rnnkit.errors import StreamError
from rnnkit.kernels import State

VERSION = "1"
ROWS_TOGETHER = 8  # whose states share memory: a copy each costs more than the network's step


class Question(NamedTuple):
    """Steps that a stream asks a network to read.

    Attributes:
        read: Reads steps of sequences: (batch, time, ...) and a state, to (batch, steps, ...) and the state after them.
        inputs: (1, time, ...).
        state: (1, ...) for each part.
        alike: Only questions of which this is equal are read as one batch.
    """

    read: Callable[[Tensor, State], tuple[Tensor, State]]
    inputs: Tensor
    state: State
    alike: Hashable = None


Work = Generator[Question, tuple[Tensor, State], Any]
"""What a stream does with a chunk: it yields questions, is sent the answers, and returns its events."""


class Stream(ABC):
    """Features, state and decoder of one sequence that is still arriving.

    After n inputs its answers equal those of `predict` on these n inputs, however they were cut into chunks; after
    `finish` they equal the offline ones.
    """

    def push(self, chunk: Any) -> list[Any]:
        """Take what has arrived.

        Args:
            chunk: As the stream's class says.

        Returns:
            The events that it causes.

        Raises:
            StreamError: If the stream was finished.
            DataError: If the chunk is none for this stream.
        """
        return work_alone(self.taking(chunk))

    def finish(self) -> list[Any]:
        """End the sequence and return the events that waited for more."""
        return work_alone(self.ending())

    @abstractmethod
    def taking(self, chunk: Any) -> Work:
        """Take the next inputs as `push` does, for who answers the questions of many streams at once."""

    @abstractmethod
    def ending(self) -> Work:
        """End the sequence as `finish` does, likewise."""

    @abstractmethod
    def state(self) -> bytes:
        """Return all that `restore` needs to go on from here, in this process or another."""

    @abstractmethod
    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """

    @abstractmethod
    def reset(self) -> None:
        """Begin a new sequence."""


def work_alone(work: Work) -> Any:
    """Do a stream's work, its questions answered one by one, and return what it does: events."""
    try:
        question = next(work)
        while True:
            with torch.inference_mode():
                answer = question.read(question.inputs, question.state)
            question = work.send(answer)
    except StopIteration as done:
        return done.value


class StreamPool:
    """Advances many streams together: what they ask of a network at one time is read as one batch.

    A stream is in the pool while it has work to do, so streams join and leave with every call. What one sends changes
    no other's events, beyond the rounding of a batch.

    Args:
        most_rows: Of a batch.
        most_steps: Of a stream read in one round; others do not wait for one that has sent more.

    Example:
        >>> import numpy as np, rnnkit
        >>> task = rnnkit.TASKS["forecasting"]
        >>> config = task.config_class(horizon=2, hidden_size=4)
        >>> model = task.prepare(task.read([task.demo_data()], config), config)
        >>> pool, first, second = StreamPool(), model.stream(), model.stream()
        >>> events = pool.push({first: [1.0, 2.0], second: [3.0]})
        >>> len(events[first]), len(events[second])
        (2, 1)
    """

    def __init__(self, *, most_rows: int = 256, most_steps: int = 64) -> None:
        self.most_rows, self.most_steps = most_rows, most_steps
        self._rows: list[_Row] = []
        self._done: dict[Hashable, Any] = {}

    def push(self, chunks: Mapping[Stream, Any]) -> dict[Stream, Any]:
        """Take what has arrived for some streams.

        Args:
            chunks: Of each stream.

        Returns:
            Of each its events, or the error by which it refused its chunk: that is no fault of the others.
        """
        return self._all({stream: stream.taking(chunk) for stream, chunk in chunks.items()})

    def finish(self, streams: Iterable[Stream]) -> dict[Stream, Any]:
        """End some streams, and return of each the events that waited for more."""
        return self._all({stream: stream.ending() for stream in streams})

    def _all(self, works: Mapping[Stream, Work]) -> dict[Stream, Any]:
        for stream, work in works.items():
            self.begin(stream, work)
        done: dict[Any, Any] = {}
        while len(done) < len(works):
            done |= self.step()
        return {stream: done[stream] for stream in works}

    def __len__(self) -> int:
        """Count the streams that have work to do."""
        return len(self._rows)

    def begin(self, key: Hashable, work: Work) -> None:
        """Add a stream's work.

        Args:
            key: Names it in what `step` returns.
            work: As `Stream.taking` or `Stream.ending` returns it.
        """
        self._go_on(_Row(key, work), None)

    def step(self) -> dict[Hashable, Any]:
        """Read some steps of every stream that has work to do.

        Returns:
            Of each whose work is done now the events, or the error that it raised.
        """
        rows, self._rows = self._rows, []
        groups: dict[Hashable, list[_Row]] = {}
        for row in rows:
            groups.setdefault(row.kind, []).append(row)
        with torch.inference_mode():
            for group in groups.values():
                for first in range(0, len(group), self.most_rows):
                    self._read(group[first : first + self.most_rows])
        for row in rows:
            if row.key in self._done:
                continue
            if row.left:
                self._rows.append(row)
            else:
                self._go_on(row, row.answer())
        done, self._done = self._done, {}
        return done

    def _go_on(self, row: _Row, answer: tuple[Tensor, State] | None) -> None:
        """Let a stream work until it asks again or is done."""
        try:
            row.ask(next(row.work) if answer is None else row.work.send(answer))
            self._rows.append(row)
        except StopIteration as done:
            self._done[row.key] = done.value
        except Exception as error:  # noqa: BLE001 - one stream's fault must not end the others
            self._done[row.key] = error

    def _read(self, rows: list[_Row]) -> None:
        try:
            self._read_batch(rows)
        except Exception as error:  # noqa: BLE001 - told to those who asked; the other batches go on
            self._done |= {row.key: error for row in rows}

    def _read_batch(self, rows: list[_Row]) -> None:
        """Read as many steps of each row as a round allows: first of all rows, then of those that have more."""
        rows = sorted(rows, key=lambda row: row.left, reverse=True)
        counts, begun = [min(row.left, self.most_steps) for row in rows], 0
        for end in sorted(set(counts)):
            some = rows if end == counts[-1] else rows[: sum(count >= end for count in counts)]
            inputs = torch.cat([row.steps(end - begun) for row in some])
            outputs, after = some[0].question.read(inputs, _together([row.state for row in some]))
            for row, output, state in zip(some, outputs.split(1), _apart(after, len(some)), strict=True):
                row.take(end - begun, output, state)
            begun = end


class SideBySide(Sequence[Tensor]):
    """A state whose parts lie side by side in one tensor, so that a batch of rows is one copy of each.

    Args:
        flat: (batch, size of all parts).
        sizes: Of the parts.
    """

    __slots__ = ("flat", "sizes")

    def __init__(self, flat: Tensor, sizes: Sequence[int]) -> None:
        self.flat, self.sizes = flat, sizes

    def __len__(self) -> int:
        """Count the parts."""
        return len(self.sizes)

    def __iter__(self) -> Iterator[Tensor]:
        """Give the parts, which are views."""
        return iter(self.flat.split(self.sizes, dim=1))

    def __getitem__(self, place: Any) -> Any:
        """Return a part, or a tuple of some."""
        return tuple(self)[place]


def _together(states: Sequence[State]) -> State:
    """Make the state of a batch from those of its rows."""
    if all(isinstance(state, SideBySide) for state in states):
        first: Any = states[0]
        return SideBySide(torch.cat([state.flat for state in states]), first.sizes)  # type: ignore[attr-defined, return-value]
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))


def _apart(state: State | SideBySide, count: int) -> Iterator[State]:
    """Cut the state of a batch into rows, in copies of a few: a view would keep its batch alive as long as a stream."""
    if not isinstance(state, SideBySide) and (
        not state or any(part.dim() != 2 or part.dtype != state[0].dtype for part in state)
    ):
        rows = [[row for some in part.split(ROWS_TOGETHER) for row in some.clone().split(1)] for part in state]
        yield from zip(*rows, strict=True) if rows else [()] * count
        return
    flat = isinstance(state, SideBySide)
    sizes = state.sizes if flat else [part.shape[1] for part in state]
    for first in range(0, count, ROWS_TOGETHER):
        rows = slice(first, first + ROWS_TOGETHER)
        some = state.flat[rows].clone() if flat else torch.cat([part[rows] for part in state], dim=1)
        for row in some.split(1):
            yield SideBySide(row, sizes)  # type: ignore[misc]


class _Row:
    """A stream's work in a pool, and how much of its question has been read."""

    question: Question

    def __init__(self, key: Hashable, work: Work) -> None:
        self.key, self.work = key, work

    def ask(self, question: Question) -> None:
        self.question, self.state = question, question.state
        _, self.time, *self.shape = question.inputs.shape
        self.read, self.outputs = 0, list[Tensor]()

    @property
    def kind(self) -> Hashable:
        """Rows of one kind can be read as one batch."""
        question = self.question
        place = None if question.alike is None else (question.alike, self.read)
        return question.read, place, *self.shape, question.inputs.dtype

    @property
    def left(self) -> int:
        """Steps that have not been read."""
        return self.time - self.read

    def steps(self, count: int) -> Tensor:
        inputs = self.question.inputs
        return inputs if count == self.time else inputs[:, self.read : self.read + count]

    def take(self, count: int, outputs: Tensor, state: State) -> None:
        self.outputs.append(outputs)
        self.read, self.state = self.read + count, state

    def answer(self) -> tuple[Tensor, State]:
        return self.outputs[0] if len(self.outputs) == 1 else torch.cat(self.outputs, dim=1), self.state


def pack_state(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> bytes:
    """Write a stream's tensors and facts as safetensors bytes: nothing in them can run.

    Args:
        tensors: By name.
        facts: Strings, among them "model": which model they belong to.

    Returns:
        The bytes.
    """
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, metadata={**facts, "version": VERSION})


def unpack_state(state: bytes, *, model: str, like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `pack_state` wrote, checking that it fits.

    Args:
        state: The bytes.
        model: The "model" fact expected.
        like: Tensors of the shapes and types expected.

    Returns:
        Tensors and facts.

    Raises:
        StreamError: If the bytes are damaged, or from another model or version.
    """
    try:
        tensors, facts = load(state), _metadata(state)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StreamError(
            f"this is not a stream's state ({error}); expected the bytes that state() returned"
        ) from error
    if facts.get("version") != VERSION:
        raise StreamError(f"the stream's state has version {facts.get('version')!r}; this rnnkit reads {VERSION!r}")
    if facts.get("model") != model:
        raise StreamError(
            f"the stream's state is of model {facts.get('model')!r}; this one is {model!r}: reset the stream"
        )
    found, expected = _describe(tensors), _describe(like)
    if found != expected:
        raise StreamError(f"the stream's state holds {found}; expected {expected}: reset the stream")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise StreamError(
                f"the stream's state holds {name} with {tensor[~torch.isfinite(tensor)][0].item()}: reset it"
            )
    return {name: tensor.to(like[name].device) for name, tensor in tensors.items()}, facts


def _describe(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        name: f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for name, tensor in tensors.items()
    }


def _metadata(state: bytes) -> dict[str, str]:
    # The header of a safetensors file: its length in 8 bytes, then JSON.
    length = int.from_bytes(state[:8], "little")
    return dict(json.loads(state[8 : 8 + length])["__metadata__"])
