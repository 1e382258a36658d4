"""What the network hears: energies of mel bands at their usual level, varied in training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from rnnkit.tasks.speech.config import SpeechConfig

MEL_BREAK, MEL_SCALE = 700.0, 1127.0  # of Kaldi's mel scale: 1127 ln(1 + f / 700)
LOWEST = 20.0  # hertz, where the first band begins
NEPERS_A_DECIBEL = math.log(10) / 10  # energies are logarithms to base e
MEMORY = 1 - 1 / 300  # of a running level: 3 s of frames
LOUDEST_NOISE, SOFTEST_NOISE = 5.0, 30.0  # decibels below the speech
LONGEST_MASK = 15  # frames
NUM_BAND_MASKS = 2
TAIL_FRAMES = 20  # at the usual level, behind the end of a recording: a network says a word a moment after it heard it


@dataclass(frozen=True)
class Level:
    """Of each band of the training data, mean and deviation, (bands,) float64."""

    means: np.ndarray
    deviations: np.ndarray

    @classmethod
    def learn(cls, recordings: Iterable[np.ndarray]) -> Self:
        """Measure frames, (frames, bands) each."""
        count, total, squares = 0, np.zeros(()), np.zeros(())
        for one in recordings:
            frames = one.astype(np.float64)
            count, total, squares = count + len(frames), total + frames.sum(0), squares + (frames**2).sum(0)
        means = total / count
        return cls(means, np.sqrt(np.maximum(squares / count - means**2, 1e-4)))

    def begin(self) -> np.ndarray:
        """Return the state of a running level before the first frame, (bands,) float64."""
        return MEMORY * self.means

    def apply(self, frames: np.ndarray, state: np.ndarray, *, running: bool) -> tuple[np.ndarray, np.ndarray]:
        """Bring frames to mean 0 and deviation 1, those of the whole bit by bit, however they are cut.

        Args:
            frames: (frames, bands).
            state: Of the running level before them.
            running: Whether the mean follows the frames: m_t = d m_{t-1} + (1 - d) x_t.

        Returns:
            (frames, bands) float32, and the state after them.
        """
        values = frames.astype(np.float64)
        if not running or not len(frames):
            return ((values - self.means) / self.deviations).astype(np.float32), state
        from scipy.signal import lfilter  # slow to import, and a level that does not run needs none

        means, after = lfilter([1 - MEMORY], [1.0, -MEMORY], values, axis=0, zi=state[None])
        return ((values - means) / self.deviations).astype(np.float32), after[0]

    def facts(self) -> dict[str, Any]:
        """Return the numbers, JSON-able."""
        return {"means": self.means.tolist(), "deviations": self.deviations.tolist()}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Self:
        """Rebuild what `facts` gave."""
        return cls(np.array(facts["means"], dtype=np.float64), np.array(facts["deviations"], dtype=np.float64))


def vary(frames: np.ndarray, config: SpeechConfig, generator: np.random.Generator, *, sample_rate: int) -> np.ndarray:
    """Vary the sound of a recording as other voices and rooms would.

    Args:
        frames: (frames, bands) energies, as heard.
        config: How much.
        generator: Draws.
        sample_rate: Samples a second.

    Returns:
        (other frames, bands).
    """
    if config.augment_speed and len(frames) > 1:
        speed = generator.uniform(1 - config.augment_speed, 1 + config.augment_speed)
        frames = _speed_up(frames, speed, sample_rate)
    if config.augment_gain:
        frames = frames + NEPERS_A_DECIBEL * config.augment_gain * generator.standard_normal()
    if config.augment_noise and generator.random() < config.augment_noise:
        frames = _with_noise(frames, generator)
    return frames


def _speed_up(frames: np.ndarray, speed: float, sample_rate: int) -> np.ndarray:
    """Play faster: fewer frames, and every frequency times `speed`, as where a recording is resampled."""
    bands = frames.shape[1]
    low, high = _mel(LOWEST), _mel(sample_rate / 2)
    centres = low + (high - low) * np.arange(1, bands + 1) / (bands + 1)
    heard = _mel((np.expm1(centres / MEL_SCALE) * MEL_BREAK) / speed)  # what now sounds at a centre did there
    places = (heard - low) * (bands + 1) / (high - low) - 1
    moved = _interpolate(frames.T, places).T
    return _interpolate(moved, np.arange(max(1, round(len(frames) / speed))) * speed)


def _mel(frequency: float | np.ndarray) -> Any:
    return MEL_SCALE * np.log1p(frequency / MEL_BREAK)


def _interpolate(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Read rows, (rows, ...), at places between them."""
    places = np.clip(places, 0, len(values) - 1)
    first = np.minimum(places.astype(np.int64), max(len(values) - 2, 0))
    second = np.minimum(first + 1, len(values) - 1)
    share = (places - first)[:, None].astype(values.dtype)
    return (1 - share) * values[first] + share * values[second]


def _with_noise(frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Add the energies of noise of a smooth random spectrum to those of the speech."""
    bands = frames.shape[1]
    slopes = generator.normal(size=4)
    spectrum = _interpolate(slopes[:, None], np.linspace(0, 3, bands))[:, 0]
    loud = np.percentile(frames.mean(1), 90)
    below = NEPERS_A_DECIBEL * generator.uniform(LOUDEST_NOISE, SOFTEST_NOISE)
    noise = loud - below + spectrum + 0.5 * generator.standard_normal(frames.shape)
    return np.logaddexp(frames, noise)


def mask(frames: np.ndarray, config: SpeechConfig, generator: np.random.Generator) -> np.ndarray:
    """Hide bands and stretches of time of frames at their level, (frames, bands), by zeros (Park et al. 2019)."""
    frames, (time, bands) = frames.copy(), frames.shape
    for _ in range(NUM_BAND_MASKS if config.mask_bands else 0):
        width = int(generator.integers(0, config.mask_bands + 1))
        first = int(generator.integers(0, bands - width + 1))
        frames[:, first : first + width] = 0
    for _ in range(generator.poisson(config.mask_time * time / (LONGEST_MASK / 2)) if config.mask_time else 0):
        width = int(generator.integers(0, min(LONGEST_MASK, time) + 1))
        first = int(generator.integers(0, time - width + 1))
        frames[first : first + width] = 0
    return frames
