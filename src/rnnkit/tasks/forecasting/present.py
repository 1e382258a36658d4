"""Series as they are now: read once, then moved on step by step, so that a new value costs the same however long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged
from rnnkit.kernels import State
from rnnkit.streaming import Question, Work, work_alone
from rnnkit.tasks.forecasting.history import Histories, in_own_unit
from rnnkit.tasks.forecasting.network import ForecastNetwork
from rnnkit.tasks.forecasting.origins import (
    SERIES_AT_ONCE,
    STEPS_AT_ONCE,
    forecast_origins,
    say_quantiles,
)
from rnnkit.tasks.forecasting.paths import Memory, draw_quantiles
from rnnkit.tasks.forecasting.reader import Reader
from rnnkit.tasks.forecasting.scaling import RunningScale, running_sums, window_scales
from rnnkit.tasks.forecasting.windows import Views, joined


@dataclass(frozen=True)
class Present:
    """The last steps of series, and what the network remembers of all the earlier ones.

    Attributes:
        tail: So many last steps of each as forecasts look back on.
        scale: (3, series) running sums of level and spread.
        state: Of the network, a row a series; empty where it reads a bounded context.
        hidden: (series, state_size) what it says after the last step; likewise.
    """

    tail: Histories
    scale: RunningScale
    state: State
    hidden: Tensor

    @classmethod
    def read(cls, network: ForecastNetwork, views: Views, histories: Histories) -> Self:
        """Read whole histories.

        Args:
            network: Trained.
            views: How windows become features.
            histories: The series.

        Returns:
            The present.
        """
        count = len(histories)
        scale = RunningScale.begin(views.half_life, (count,))
        for index in range(count):
            if len(histories.values[index]):
                scale.sums[:, index] = running_sums(histories.values[index], views.half_life)[:, -1]
        hidden = torch.zeros(count, network.stack.output_size)
        now = cls(histories, scale, network.stack.initial_state(count), hidden)
        now = now if views.context is not None else now._carried(network, views, histories.values.lengths)
        return now.trimmed(views)

    def _carried(self, network: ForecastNetwork, views: Views, new: np.ndarray) -> Self:
        """Let the network read the last `new` steps of each series, (series,)."""
        if network.training:  # asking costs less than telling
            network.eval()
        state, hidden = [part.clone() for part in self.state], self.hidden.clone()
        order = np.argsort(-new, kind="stable")
        order = order[new[order] > 0]
        with torch.inference_mode():
            for first in range(0, len(order), SERIES_AT_ONCE):
                series = order[first : first + SERIES_AT_ONCE]
                rows = torch.from_numpy(series)
                after, last = _read(
                    network, views, self.tail, tuple(part[rows] for part in state), series=series, new=new[series]
                )
                hidden[rows] = last.cpu()
                for part, now in zip(state, after, strict=True):
                    part[rows] = now.cpu()
        return replace(self, state=tuple(state), hidden=hidden)

    def _carried_one(self, reader: Reader, index: int, new: int) -> Work:
        """Let the network read the last `new` steps of one series, and return the present then."""
        series, row = np.array([index]), slice(index, index + 1)
        first = self.tail.values.lengths[series] - new
        said, after = self.hidden[row], tuple(part[row] for part in self.state)
        for start in range(0, new, STEPS_AT_ONCE):
            steps = np.array([min(new - start, STEPS_AT_ONCE)])
            inputs = torch.from_numpy(reader.views.inputs(self.tail, series, first + start, steps))
            outputs, after = yield Question(reader.read, inputs, after)
            said = outputs[:, -1]
        if len(self.tail) == 1:
            return replace(self, state=after, hidden=said)
        state, hidden = [part.clone() for part in self.state], self.hidden.clone()
        for part, now in zip((hidden, *state), (said, *after), strict=True):
            part[row] = now
        return replace(self, state=tuple(state), hidden=hidden)

    def push(self, reader: Reader, values: Sequence[np.ndarray], beside: Sequence[np.ndarray]) -> Self:
        """Move on by new steps of each series.

        Args:
            reader: Of the network and the views as in `read`.
            values: (new,) float64 of each series, transformed, NaN where one is missing; may be empty.
            beside: (new + ahead, columns) float32 of each: what is known of the new steps, and of those after them.

        Returns:
            The present then.
        """
        return work_alone(self.moving(reader, values, beside))

    def moving(self, reader: Reader, values: Sequence[np.ndarray], beside: Sequence[np.ndarray]) -> Work:
        """Move on as `push` does; where one series does, its steps are read as questions are answered."""
        views, new = reader.views, np.array([len(one) for one in values])
        tail, scale = self._longer(values, beside, views)
        moved = replace(self, tail=tail, scale=scale)
        if views.context is None:
            growing = np.flatnonzero(new)
            if len(growing) == 1:
                moved = yield from moved._carried_one(reader, int(growing[0]), int(new[growing[0]]))
            else:
                moved = moved._carried(reader.network, views, new)
        return moved.trimmed(views)

    def _longer(
        self, values: Sequence[np.ndarray], beside: Sequence[np.ndarray], views: Views
    ) -> tuple[Histories, RunningScale]:
        """Put new steps at the ends of the tails."""
        tail, decay = self.tail, self.scale.decay
        grown: list[list[np.ndarray]] = [[], [], [], []]
        sums = self.scale.sums.copy()
        for index, (added, known) in enumerate(zip(values, beside, strict=True)):
            before = slice(tail.offsets[index], tail.values.ends[index])
            together = np.concatenate([tail.values[index], added])
            if views.context is not None:
                level, spread = window_scales(together, views.context)
            else:
                running = RunningScale(sums[:, index], decay)
                steps = []
                for value in added:
                    running = running.after(value)
                    steps.append((running.level, running.spread))
                sums[:, index] = running.sums
                news = np.array(steps).reshape(-1, 2)
                level = np.concatenate([tail.level[before], news[:, 0]])
                spread = np.concatenate([tail.spread[before], news[:, 1]])
            kept = tail.beside[index][: len(tail.values[index])]
            for part, one in zip(grown, (together, level, spread, np.concatenate([kept, known])), strict=True):
                part.append(one)
        return replace(
            tail,
            values=Ragged.join(grown[0], like=np.empty(0)),
            level=np.concatenate(grown[1]),
            spread=np.concatenate(grown[2]),
            beside=Ragged.join(grown[3], like=tail.beside.values[:0]),
        ), RunningScale(sums, decay)

    def trimmed(self, views: Views) -> Self:
        """Forget the steps that no forecast looks back on."""
        tail, most = self.tail, views.look_back
        cut = np.maximum(tail.values.lengths - most, 0)
        if not cut.any():
            return self
        return replace(self, tail=tail.part(np.arange(len(tail)), cut))

    def alone(self, index: int) -> Self:
        """Return the present of one series."""
        one = self.tail.part(np.array([index]), np.zeros(1, dtype=np.int64))
        scale = replace(self.scale, sums=self.scale.sums[:, [index]])
        return type(self)(one, scale, tuple(part[[index]] for part in self.state), self.hidden[[index]])

    def saying(self, reader: Reader) -> Work:
        """Forecast the only series from now on as `forecast` does, (horizon, levels)."""
        network, views, tail = reader.network, reader.views, self.tail
        if network.head.sampled or views.context is not None:
            return self.forecast(network, views, np.zeros(1, dtype=np.int64))[0]
        origins = np.array([[0, tail.values.lengths[0]]])
        ahead = torch.from_numpy(joined(views.ahead_of(tail, *origins.T)))
        said, _ = yield Question(reader.say, ahead[:, None], (self.hidden,))
        return in_own_unit(said.double().cpu().numpy().reshape(1, views.horizon, -1), tail, origins)[0]

    def forecast(self, network: ForecastNetwork, views: Views, series: np.ndarray) -> np.ndarray:
        """Forecast from now on: (series,) which -> (series, horizon, levels) float64, transformed as the values are."""
        origins = np.stack([series, self.tail.values.lengths[series]], axis=1)
        if views.context is not None:
            return forecast_origins(network, views, self.tail, origins)
        if network.training:  # asking costs less than telling
            network.eval()
        rows = torch.from_numpy(series)
        with torch.inference_mode():
            if not network.head.sampled:
                return say_quantiles(network, views, self.tail, origins, self.hidden[rows])
            scale = RunningScale(self.scale.sums[:, series], self.scale.decay)
            memory = Memory(self.hidden[rows], tuple(part[rows] for part in self.state), scale)
            return draw_quantiles(network, views, self.tail, origins, memory)


def _read(
    network: ForecastNetwork, views: Views, tail: Histories, state: State, *, series: np.ndarray, new: np.ndarray
) -> tuple[State, Tensor]:
    """Read the last `new` steps of some series, and return the state and what the network says after them."""
    ends = tail.values.lengths[series]
    last = torch.zeros(len(series), network.stack.output_size, device=network.device)
    for start in range(0, int(new.max()), STEPS_AT_ONCE):
        lengths = np.clip(new - start, 0, STEPS_AT_ONCE)
        starts = np.minimum(ends - new + start, ends - 1)
        inputs = views.inputs(tail, series, starts, np.maximum(lengths, 1))
        valid = torch.from_numpy(lengths)
        same = None if (lengths == inputs.shape[1]).all() else valid.to(network.device)  # None costs less
        outputs, state = network(torch.from_numpy(inputs).to(network.device), same, state)
        reading = valid > 0
        last[reading] = outputs[reading, valid[reading] - 1]
    return state, last
