"""What random convolutions say of the labels, by ridge regression, added to what the network says."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged, in_batches
from rnnkit.kernels import State
from rnnkit.sequences import valid_mask
from rnnkit.tasks.classification import DirectScores
from rnnkit.tasks.series_classification.views import VIEWS, SeriesViews

KERNELS = 256
THRESHOLDS = 8  # of each kernel's output
TAPS = 5  # steps that a kernel looks at
MOST_VIEWS = 3  # that it looks at
LONGEST_REACH = 256  # steps from its first tap to its last
ALPHAS = tuple(10.0**power for power in range(-3, 2))  # L2 of a regression, on features of a norm of about 1
MOST_SERIES = 8192  # that the regression learns from
SAMPLED_SERIES = 256  # whose outputs give the thresholds
SAMPLED_STEPS = 16_384
LEAST_WIDTH = 1e-6  # of an output or a feature that never changes
SOFTNESS = 0.1  # share of the deviation of a kernel's output over which a step counts in part
SHORT = 0.1  # quantile of the lengths: from there on a series counts as whole
SHARES = (0.25, 0.5, 0.75, 1.0)  # that the first regression learns from: who is quick has fewer points
CHUNK = 4096  # padded steps whose features are in memory at once


class RandomConvolutions(DirectScores):
    """Ridge regression on how often random convolutions are high (after Dempster et al. 2020).

    A kernel looks at a few views of the channels at steps 1, 2, 4, ... apart, with weights drawn from a normal
    distribution. A feature is the share of the steps so far at which its output is above a threshold, a step close to
    the threshold counting in part, so that rounding tips no feature over. One regression has learnt from beginnings of
    series too and answers first; another has learnt from whole ones and answers once a series is half as long as short
    ones are; from a quarter on their answers are mixed. As much as a series is shorter they say less, for one that is
    drawn quickly is short and whole, and the network knows those better. They know the training series by heart, so
    training does without them: their scale, which validation data chooses, is 0 until then.

    Args:
        offsets: (offsets,) int64, how many steps back a kernel may look, in rising order.
        kernels: (offsets * views, kernels) float32.
        thresholds: (kernels, thresholds) float32.
        widths: (kernels,) float32, over which a step counts in part.
        weights: (kernels * thresholds, 2 * labels) float32, of the regressions of beginnings and of whole series.
        bias: (2 * labels,) float32, of both.
        short: (1,) float32, steps after which a series counts as whole.
    """

    offsets: Tensor
    kernels: Tensor
    thresholds: Tensor
    widths: Tensor
    weights: Tensor
    bias: Tensor
    short: Tensor
    state_names = (*SeriesViews.state_names, "window", "sums", "steps")
    file_name = "random-convolutions.npz"
    kept = ("offsets", "kernels", "thresholds", "widths", "weights", "bias", "short")
    trust = 1.0  # a tenth of a few series, all of them answered well by either, cannot choose

    def __init__(self, **arrays: np.ndarray) -> None:
        super().__init__()
        for name in self.kept:
            self.register_buffer(name, torch.from_numpy(arrays[name]), persistent=False)
        size = len(self.kernels) // len(self.offsets)
        self.views = SeriesViews(size // VIEWS)
        self.reach = int(self.offsets[-1])

    @classmethod
    def fit(cls, series: list[np.ndarray], targets: np.ndarray, *, num_labels: int, seed: int) -> Self:
        """Draw kernels and learn the regression from training series.

        Args:
            series: (time, channels) each.
            targets: (series,) label numbers.
            num_labels: How many labels.
            seed: Of the kernels.

        Returns:
            What they say, on a scale of 0.
        """
        from sklearn.linear_model import Ridge, RidgeCV  # slow to import

        generator = np.random.default_rng(seed)
        chosen = np.linspace(0, len(series) - 1, min(len(series), MOST_SERIES)).astype(np.int64)
        steps = Ragged.join((series[index] for index in chosen), like=series[0][:0])
        drawn = _draw(generator, views=VIEWS * series[0].shape[1], typical=float(np.median(steps.lengths)))
        short = np.maximum(np.quantile(steps.lengths, [SHORT]), 1).astype(np.float32)
        made = cls(**drawn, **_nothing(num_labels), short=short)
        made.views.fit(series)
        made._set_thresholds(steps, generator)
        outputs = np.where(targets[chosen, None] == np.arange(num_labels), 1.0, -1.0).astype(np.float32)
        chooser = RidgeCV(np.array(ALPHAS))
        *beginnings, whole = (made._shares_high(steps, share) for share in SHARES)
        late = _regress(whole, outputs, chooser)  # with the L2 that leaves least error on series left out
        ridge = Ridge(float(np.asarray(chooser.alpha_)))
        early = _regress(np.concatenate([*beginnings, whole]), np.tile(outputs, (len(SHARES), 1)), ridge)
        found = np.concatenate([early, late], axis=1)
        made.weights, made.bias = torch.from_numpy(found[:-1]), torch.from_numpy(found[-1])
        return made

    def _set_thresholds(self, steps: Ragged, generator: np.random.Generator) -> None:
        """Spread each kernel's thresholds evenly over its outputs."""
        outputs = []
        some = np.linspace(0, len(steps) - 1, min(len(steps), SAMPLED_SERIES)).astype(np.int64)
        for index in some:
            state, inputs = self._reading(1), torch.from_numpy(steps[index][None])
            for chunk in inputs.split(CHUNK, dim=1):
                found, state = self._convolve(chunk, state)
                outputs.append(found[0])
        found = torch.cat(outputs).numpy()
        found = found[generator.permutation(len(found))[:SAMPLED_STEPS]]
        shares = (np.arange(THRESHOLDS) + 0.5) / THRESHOLDS
        self.thresholds = torch.from_numpy(np.quantile(found, shares, axis=0).T.astype(np.float32))
        self.widths = torch.from_numpy(np.maximum(SOFTNESS * found.std(0), LEAST_WIDTH).astype(np.float32))

    def _shares_high(self, steps: Ragged, share: float) -> np.ndarray:
        """Return the features of beginnings of series: (series, kernels * thresholds) float32."""
        features = np.zeros((len(steps), self.thresholds.numel()), dtype=np.float32)
        for places in in_batches(steps.lengths, batch_size=64, most_steps=16 * CHUNK):
            rows, lengths = steps.padded(places)
            heard = np.ceil(share * lengths).astype(np.int64)
            features[places] = self._features(torch.from_numpy(rows), torch.from_numpy(heard)).numpy()
        return features

    # Scoring

    def initial_state(self, batch: int) -> State:
        """Return the state before a series."""
        sums, steps = self.gain.new_zeros(batch, self.thresholds.numel()), self.gain.new_zeros(batch, 1)
        return (*self._reading(batch), sums, steps)

    def _reading(self, batch: int) -> State:
        window = self.gain.new_zeros(batch, self.reach * self.views.output_size)
        return (*self.views.initial_state(batch), window)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Score whole series.

        Args:
            inputs: (batch, time, channels) steps.
            lengths: (batch,).

        Returns:
            (batch, labels).
        """
        if not torch.compiler.is_compiling() and not self.gain:
            return self.gain.new_zeros(inputs.shape[0], len(self.bias) // 2)
        return self._said(self._features(inputs, lengths), lengths[:, None])

    def running(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Score every beginning of series, going on from `state`.

        Args:
            inputs: (batch, time, channels), all of them valid.
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, time, labels), and the state after the last step.
        """
        *reading, sums, steps = state
        scores: list[Tensor] = []
        for chunk in self._chunks(inputs):
            outputs, reading = self._convolve(chunk, tuple(reading))
            totals = _running_sums(self._high(outputs), sums)  # (batch, chunk, features)
            counts = steps[:, None] + torch.arange(1, chunk.shape[1] + 1, device=steps.device)[:, None]
            scores.append(self._said(totals / counts, counts))
            sums, steps = totals[:, -1], counts[:, -1]
        whole = torch.cat(scores, dim=1) if scores else self.gain.new_zeros(inputs.shape[0], 0, len(self.bias) // 2)
        return whole, (*reading, sums, steps)

    def _said(self, features: Tensor, steps: Tensor) -> Tensor:
        early, late = (features @ self.weights + self.bias).chunk(2, dim=-1)
        whole = (steps / self.short).clamp(max=1)
        return self.gain * whole * torch.lerp(early, late, (4 * whole - 1).clamp(0, 1))

    def _features(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the share of each series' steps at which each kernel is above each threshold."""
        state, sums, first = self._reading(inputs.shape[0]), self.gain.new_zeros(()), 0
        for chunk in self._chunks(inputs):
            outputs, state = self._convolve(chunk, state)
            valid = valid_mask(lengths - first, chunk.shape[1])
            sums = sums + (self._high(outputs) * valid[..., None]).sum(1)
            first += chunk.shape[1]
        return sums / lengths.clamp_min(1)[:, None]

    def _chunks(self, inputs: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling():  # a graph of any number of steps has no loop over chunks
            return (inputs,)
        return inputs.split(max(1, CHUNK // max(len(inputs), 1)), dim=1) if inputs.shape[1] else ()

    def _convolve(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the kernels' outputs, (batch, time, kernels), and the state of views and window after them."""
        *before, window = state
        views, after = self.views(inputs, tuple(before))
        joined = torch.cat([torch.unflatten(window, 1, (self.reach, self.views.output_size)), views], dim=1)
        places = torch.arange(self.reach, joined.shape[1], device=joined.device)[:, None] - self.offsets
        outputs = joined[:, places].flatten(2) @ self.kernels
        return outputs, (*after, joined[:, joined.shape[1] - self.reach :].flatten(1))

    def _high(self, outputs: Tensor) -> Tensor:
        """Return how far above its thresholds each output is: (batch, time, kernels * thresholds) in [0, 1]."""
        above = outputs[..., None] - self.thresholds
        return above.div_(self.widths[:, None]).add_(0.5).clamp_(0, 1).flatten(2)  # in place: memory is what it takes


def _running_sums(parts: Tensor, before: Tensor) -> Tensor:
    """Add up (batch, time, features) along time, going on from (batch, features)."""
    return parts.add_(before[:, None]) if parts.shape[1] == 1 else parts.cumsum(1).add_(before[:, None])


def _draw(generator: np.random.Generator, *, views: int, typical: float) -> dict[str, np.ndarray]:
    """Draw kernels whose taps are 1, 2, 4, ... steps apart, as far as a typical series is long."""
    spacings = [1]
    while 2 * spacings[-1] * (TAPS - 1) < min(typical, LONGEST_REACH + 1):
        spacings.append(2 * spacings[-1])
    offsets = np.unique(np.outer(spacings, np.arange(TAPS)))
    kernels = np.zeros((len(offsets), views, KERNELS), dtype=np.float32)
    for kernel in range(KERNELS):
        places = np.searchsorted(offsets, spacings[kernel % len(spacings)] * np.arange(TAPS))
        seen = generator.choice(views, size=min(generator.integers(1, MOST_VIEWS + 1), views), replace=False)
        kernels[places[:, None], seen, kernel] = generator.normal(size=(TAPS, len(seen)))
    return {"offsets": offsets, "kernels": kernels.reshape(-1, KERNELS)}


def _nothing(num_labels: int) -> dict[str, np.ndarray]:
    """Return thresholds and a regression that are still to be learnt."""
    sizes = {
        "thresholds": (KERNELS, THRESHOLDS),
        "widths": (KERNELS,),
        "weights": (KERNELS * THRESHOLDS, 2 * num_labels),
        "bias": (2 * num_labels,),
    }
    return {name: np.ones(size, dtype=np.float32) for name, size in sizes.items()}


def _regress(features: np.ndarray, outputs: np.ndarray, regression: Any) -> np.ndarray:
    """Fit -1 and 1 for every label.

    Args:
        features: (series, features) float32.
        outputs: (series, labels) float32.
        regression: Of scikit-learn.

    Returns:
        (features + 1, labels) float32 weights, the last row of a constant 1.
    """
    means, scales = features.mean(0), np.maximum(features.std(0), LEAST_WIDTH) * np.sqrt(features.shape[1])
    regression.fit((features - means) / scales, outputs)
    weights = regression.coef_.reshape(outputs.shape[1], -1).T / scales[:, None]
    return np.vstack([weights, regression.intercept_ - means @ weights]).astype(np.float32)
