"""A series that is still being measured: the label so far, and the moment at which it is decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.audio import Hearing, frame_length
from rnnkit.errors import DataError, StreamError
from rnnkit.kernels import State
from rnnkit.streaming import Question, Stream, Work, pack_state, unpack_state
from rnnkit.tasks.classification.network import CHUNK_STEPS
from rnnkit.tasks.series_classification.results import StepEvent, step_event
from rnnkit.tasks.series_classification.steps import averaged, fill_gaps, is_samples

if TYPE_CHECKING:
    from rnnkit.tasks.series_classification.task import SeriesClassification


class SeriesStream(Stream):
    """Samples that are still arriving: an event a step; one of them fires, once a series.

    A chunk holds points, each a list of numbers, one a channel; NaN or None where one is missing. Or it is sound,
    (samples,) in [-1, 1] at the model's `sample_rate`.

    A continuous stream has many series in it. A new one begins where the null label is decided, and after one has
    fired, once it is as long as those of its label were in training. Where there is a null label, the label that has
    fired does not fire again before another one, or the null label, was decided: what one gesture does fires once.

    Args:
        model: The classifier, of one direction.
        candidates: How many labels an event lists.
        continuous: Whether one series follows another.
    """

    def __init__(self, model: SeriesClassification, *, candidates: int = 5, continuous: bool = False) -> None:
        self.model, self.candidates, self.continuous = model, candidates, continuous
        model.network.eval()
        self.reset()

    def reset(self) -> None:
        """Begin a new series."""
        self._finished = False
        self._before = self.model.means.copy()
        self._samples = np.empty((0, len(self._before)), dtype=np.float32)
        self._hearing = Hearing(self.model.config.sample_rate)
        self._held = -1  # the label that may not fire again yet
        self._begin()

    def _begin(self) -> None:
        self._state: State = self.model.network.initial_state(1)
        self._step, self._run, self._leader = 0, 0, -1
        self._fired = -1  # the label that has fired
        self._last: StepEvent | None = None

    def taking(self, chunk: Sequence[Any] | np.ndarray) -> Work:
        if self._finished:
            raise StreamError("push after finish: reset() begins a new series")
        sound = self.model.hears and is_samples(chunk)
        values = self._hearing.push(np.asarray(chunk)) if sound else self.model.check_points(chunk)
        filled = fill_gaps(values, self._before)
        self._before = filled[-1].copy() if len(filled) else self._before
        self._samples = np.concatenate([self._samples, filled]) if len(self._samples) else filled
        stride = self.model.stride
        ready = len(self._samples) // stride * stride
        steps, self._samples = self._samples[:ready], self._samples[ready:].copy()  # no longer the caller's
        return (yield from self._events(steps))

    def ending(self) -> Work:
        """End the series: the last samples make a step, and what has not been decided yet is decided now."""
        if self._finished:
            return []
        self._finished = True
        steps, self._samples = self._samples, self._samples[:0]
        events = yield from self._events(steps)
        last = self._last
        if last is not None and self._fired < 0 and last.label != self.model.config.null_label:
            fired = StepEvent(last.step, last.label, last.probability, last.candidates, fired=True)
            events = [*events[:-1], fired] if events else [fired]
        return events

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        place = [
            self._step,
            self._run,
            self._leader,
            self._fired,
            self._held,
            int(self._finished),
            int(self.continuous),
        ]
        waiting = {"waiting": str(len(self._samples)), "sound": str(len(self._hearing.rest))}
        return pack_state(self._tensors(), {"model": self.model.fingerprint, "place": json.dumps(place), **waiting})

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """
        tensors, facts = unpack_state(state, model=self.model.fingerprint, like=self._tensors())
        if not {"place", "waiting", "sound"} <= facts.keys():
            raise StreamError(f"the stream's state has only the facts {', '.join(facts)}: reset the stream")
        self._step, self._run, self._leader, self._fired, self._held, finished, continuous = json.loads(facts["place"])
        self._finished, self.continuous = bool(finished), bool(continuous)
        self._samples = tensors["samples"].numpy()[: int(facts["waiting"])].copy()
        self._hearing.rest = tensors["sound"].numpy()[: int(facts["sound"])].copy()
        self._before = tensors["before"].numpy().copy()
        self._state = tuple(tensors[name] for name in self.model.network.state_names)
        self._last = self._event(tensors["last"].numpy()) if self._step else None

    def _tensors(self) -> dict[str, Tensor]:
        waiting = np.zeros((self.model.stride, len(self._before)), dtype=np.float32)
        waiting[: len(self._samples)] = self._samples
        sound = np.zeros(frame_length(self.model.config.sample_rate) if self.model.hears else 0, dtype=np.float32)
        sound[: len(self._hearing.rest)] = self._hearing.rest
        last = np.zeros(len(self.model.labels))
        if self._last is not None:
            last[:] = self._answer
        names = self.model.network.state_names
        return {
            "samples": torch.from_numpy(waiting),
            "sound": torch.from_numpy(sound),
            "before": torch.from_numpy(self._before.astype(np.float32)),
            "last": torch.from_numpy(last),
            **dict(zip(names, self._state, strict=True)),
        }

    def _events(self, samples: np.ndarray) -> Work:
        """Read whole steps; in a continuous stream one after the other, for any may end the series."""
        if not len(samples):
            return []
        steps = averaged(samples, self.model.config)
        size = 1 if self.continuous else CHUNK_STEPS
        found: list[StepEvent] = []
        for first in range(0, len(steps), size):
            inputs = torch.from_numpy(steps[None, first : first + size])
            answers, self._state = yield Question(self.model.answering, inputs, self._state)
            for answer in answers[0].numpy():
                self._step += 1
                self._last = self._event(answer, fired=self._decides(answer))
                found.append(self._last)
                if self.continuous and self._ends():
                    self._begin()
        return found

    def _event(self, answer: np.ndarray, *, fired: bool = False) -> StepEvent:
        self._answer = answer
        return step_event(answer, self.model.labels.names, step=self._step, count=self.candidates, fired=fired)

    def _decides(self, answer: np.ndarray) -> bool:
        """Follow the rule of early decisions by one step; say whether the label is decided here."""
        leader = int(answer.argmax())
        sure = answer[leader] >= self.model.rule.confidence
        self._run = (self._run + 1 if leader == self._leader else 1) if sure else 0
        self._leader = leader
        if self._fired >= 0 or self._run < self.model.rule.patience:
            return False
        if leader == self.model.null:
            self._held = -1
            return False
        if leader == self._held:
            return False
        self._fired = leader
        self._held = leader if self.model.null is not None and self.continuous else -1
        return True

    def _ends(self) -> bool:
        """Whether a continuous stream begins a new series after this step."""
        if self._fired >= 0:
            return self._step >= self.model.typical[self._fired]
        rests = self._leader == self.model.null and self._run >= self.model.rule.patience
        return rests or self._step >= 2 * max(self.model.typical)


def parse_points(text: str, *, key: str | None, where: str) -> list[list[Any]]:
    """Parse a line of a stream: a point, a list of points, or an object that holds one under a key.

    Args:
        text: JSON.
        key: Of the object; None takes its only list.
        where: Names the line, for messages.

    Returns:
        Points.

    Raises:
        DataError: If it is none of these.
    """
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: this is no JSON ({error}); expected a point, as [0.1, 0.2]: {text[:60]}") from None
    if isinstance(value, dict):
        lists = [key] if key is not None else [name for name, part in value.items() if isinstance(part, list)]
        if len(lists) != 1 or lists[0] not in value:
            raise DataError(f"{where}: the object has the keys {', '.join(value)}; expected one list of points.")
        value = value[lists[0]]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: this is {text[:60]}; expected a point, as [0.1, 0.2], or a list of points.")
    return value if isinstance(value[0], list) else [value]
