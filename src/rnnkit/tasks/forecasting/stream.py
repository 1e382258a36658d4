"""A series that goes on: a new forecast after every observation, and how far off the last ones were."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged
from rnnkit.errors import StreamError
from rnnkit.streaming import Stream, Work, pack_state, unpack_state, work_alone
from rnnkit.tasks.forecasting.history import completed
from rnnkit.tasks.forecasting.present import Present
from rnnkit.tasks.forecasting.results import LEVELS, MEDIAN, TickEvent, make_forecast, stamp_words
from rnnkit.tasks.forecasting.scaling import RunningScale
from rnnkit.tasks.forecasting.values import as_values

if TYPE_CHECKING:
    from rnnkit.tasks.forecasting.task import Forecasting

LOW, HIGH = LEVELS.index(0.1), LEVELS.index(0.9)


class ForecastStream(Stream):
    """Observations that are still arriving: an event, with a forecast, for each step.

    A chunk holds values in the series' own unit, a step each; NaN or None where one is missing. `taking` takes what
    is beside them, (steps + horizon, features); what is missing of it is taken from what was known ahead.

    Args:
        model: The forecaster.
        series: Name of a known series to go on with; None begins a new one.
    """

    def __init__(self, model: Forecasting, *, series: str | None = None) -> None:
        self.model, self.series = model, series
        model.network.eval()
        self.reset()

    def reset(self) -> None:
        """Go back to where the series begins, or where the model knows it up to."""
        self._finished = False
        self._now = self.model.present_of(self.series)
        self._expected: np.ndarray | None = None  # (levels,) of the next step
        self._last = math.nan
        if len(self._now.tail.values.values):
            self._last = float(self.model.facts.restored(self._now.tail.values.values[-1:])[0])
            self._expected = work_alone(self._ahead())[0]
        self._missed = np.zeros(3)  # sums of errors of the model and of the last value, and how many

    @property
    def step(self) -> int:
        """Number of the step that comes next."""
        tail = self._now.tail
        return int(tail.first[0] + tail.values.lengths[0])

    def taking(self, chunk: Sequence[float | None] | np.ndarray, *, beside: np.ndarray | None = None) -> Work:
        if self._finished:
            raise StreamError("push after finish: reset() begins anew")
        values = as_values(chunk)
        self.model.facts.check(values, where=self.series or "the series")
        horizon = self.model.config.horizon
        told = np.full((len(values) + horizon, len(self.model.facts.features)), np.nan, dtype=np.float32)
        if beside is not None:
            told[: len(beside)] = beside[: len(told)]
        told = completed(told, self._now.tail.ahead[0])
        events = []
        for place, value in enumerate(values.tolist()):
            events.append((yield from self._take(value, told[place : place + 1 + horizon])))
        return events

    def _ahead(self) -> Work:
        """Forecast from now on, (horizon, levels)."""
        return self.model.facts.restored((yield from self._now.saying(self.model.reader)))

    def _take(self, value: float, beside: np.ndarray) -> Work:
        """Take one observation and return its event."""
        model, number = self.model, self.step
        expected = self._expected
        if expected is not None and not math.isnan(value) and not math.isnan(self._last):
            self._missed += [abs(value - expected[MEDIAN]), abs(value - self._last), 1]
        changed = model.facts.transformed(np.array([value]))
        self._now = yield from self._now.moving(model.reader, [changed], [beside])
        self._last = self._last if math.isnan(value) else value
        quantiles = yield from self._ahead()
        self._expected = quantiles[0]
        frequency, name = model.facts.frequency, self.series or "series"
        mean = (self._missed[:2] / self._missed[2]).tolist() if self._missed[2] else [None, None]
        guess = [None] * 3 if expected is None else expected[[MEDIAN, LOW, HIGH]].tolist()
        return TickEvent(
            series=name,
            time=stamp_words(frequency, np.array([number]))[0],
            value=None if math.isnan(value) else value,
            expected=guess[0],
            low=guess[1],
            high=guess[2],
            error=mean[0],
            naive_error=mean[1],
            forecast=make_forecast(name, frequency, number + 1, quantiles),
        )

    def ending(self) -> Work:
        """End the series; nothing waits for more."""
        self._finished = True
        yield from ()
        return []

    def state(self) -> bytes:
        """Return all that `restore` needs."""
        tail = self._now.tail
        place = [int(tail.values.lengths[0]), len(tail.beside[0]), int(tail.first[0]), int(self._finished)]
        facts = {"model": self.model.fingerprint, "place": json.dumps(place), "series": json.dumps(self.series)}
        return pack_state(self._tensors(), facts)

    def restore(self, state: bytes) -> None:
        """Go on from what `state` returned.

        Raises:
            StreamError: If the bytes are damaged, or from another model or version.
        """
        tensors, facts = unpack_state(state, model=self.model.fingerprint, like=self._tensors())
        if not {"place", "series"} <= facts.keys():
            raise StreamError(f"the stream's state has only the facts {', '.join(facts)}: reset the stream")
        self.series = json.loads(facts["series"])
        steps, beside, first, finished = json.loads(facts["place"])
        names = self.model.network.stack.state_names
        laid = {name: tensor.numpy() for name, tensor in tensors.items() if name not in names}
        values, level, spread = laid["steps"][:, :steps].copy()
        values[laid["missing"][0, :steps] > 0] = np.nan
        known = np.where(laid["unknown"] > 0, np.float32("nan"), laid["beside"])[:beside]
        tail = replace(
            self._now.tail,
            values=Ragged(values, np.array([steps])),
            beside=Ragged(known, np.array([beside])),
            level=level,
            spread=spread,
            first=np.array([first]),
        )
        scale = RunningScale(laid["sums"], self._now.scale.decay)
        self._now = Present(tail, scale, tuple(tensors[name] for name in names), tensors["hidden"])
        self._missed, self._finished = laid["missed"].copy(), bool(finished)
        last, known_last, expects = laid["last"].tolist()
        self._last = last if known_last else math.nan
        self._expected = laid["expected"].copy() if expects else None

    def _tensors(self) -> dict[str, Tensor]:
        tail, most = self._now.tail, self.model.views.look_back
        count = int(tail.values.lengths[0])
        steps, missing = np.zeros((3, most)), np.zeros((1, most))
        steps[:, :count] = np.nan_to_num(tail.values.values), tail.level, tail.spread
        missing[0, :count] = np.isnan(tail.values.values)
        beside = np.zeros((most + self.model.config.horizon, tail.beside.values.shape[1]), dtype=np.float32)
        unknown = np.zeros_like(beside)
        beside[: len(tail.beside[0])], unknown[: len(tail.beside[0])] = (
            np.nan_to_num(tail.beside[0]),
            np.isnan(tail.beside[0]),
        )
        expected = np.zeros(len(LEVELS)) if self._expected is None else self._expected
        last = [np.nan_to_num(self._last), not math.isnan(self._last), self._expected is not None]
        arrays = {"steps": steps, "missing": missing, "beside": beside, "unknown": unknown}
        arrays |= {
            "sums": self._now.scale.sums,
            "missed": self._missed,
            "expected": expected,
            "last": np.array(last, dtype=np.float64),
        }
        names = self.model.network.stack.state_names
        return {
            **{name: torch.from_numpy(one) for name, one in arrays.items()},
            **dict(zip(names, self._now.state, strict=True)),
            "hidden": self._now.hidden,
        }
