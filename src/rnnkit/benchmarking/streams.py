"""How long a step of a live stream takes, and how many live streams this machine holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from rnnkit.data.readers import read_text
from rnnkit.data.series import read_series
from rnnkit.errors import ConfigError
from rnnkit.streaming import Stream, StreamPool
from rnnkit.tasks import Forecasting, SeriesClassification, SpeechRecognition, Task

MOST_STREAMS = 4096
LEAST_ROUNDS = 20
WARM_ROUNDS = 3
SAMPLED_CHARACTERS = 2000


@dataclass(frozen=True)
class StreamRow:
    """So many streams, each of which pushes a chunk at a time; times in milliseconds, from chunks to all events."""

    streams: int
    p50: float
    p95: float
    p99: float
    share: float
    """Of the time until the next chunks come that computing takes, in the mean: the real-time factor."""


def measure_streams(task: Task, *, interval: float, budget: float, seconds: float) -> Iterator[StreamRow]:
    """Measure one stream, then twice as many, as long as their chunks are done within a budget.

    Args:
        task: The model; its streams may be packed.
        interval: Seconds from one chunk of a stream to its next.
        budget: Seconds within which 99 of 100 rounds must be done.
        seconds: To measure each number of streams.

    Yields:
        A row for each number of streams; the last one may be beyond the budget.

    Raises:
        ConfigError: If the model cannot stream.
    """
    if not interval > 0 or not budget > 0:
        raise ConfigError(f"interval is {interval} and budget {budget} seconds; expected more than 0")
    chunks = _chunks(task, interval)
    count = 1
    while count <= MOST_STREAMS:
        row = _measured([task.stream() for _ in range(count)], chunks, interval=interval, seconds=seconds)
        yield row
        if row.p99 > 1000 * budget or row.share > 1:
            return
        count *= 2


def most_streams(rows: list[StreamRow], *, budget: float) -> int:
    """Return the largest number of streams that was measured within a budget, in seconds."""
    return max((row.streams for row in rows if row.p99 <= 1000 * budget and row.share <= 1), default=0)


def _measured(streams: list[Stream], chunks: list[Any], *, interval: float, seconds: float) -> StreamRow:
    pool, coming, times = StreamPool(), cycle(chunks), []
    for stream in streams:  # not all at the same place of the data
        stream.push(next(coming))
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < LEAST_ROUNDS + WARM_ROUNDS or time.perf_counter() < end:
        given = {stream: next(coming) for stream in streams}
        began = time.perf_counter()
        found = pool.push(given)
        times.append(time.perf_counter() - began)
        for error in found.values():
            if isinstance(error, Exception):
                raise error
        rounds += 1
    kept = 1000 * np.array(times[WARM_ROUNDS:])
    p50, p95, p99 = np.percentile(kept, [50, 95, 99]).tolist()
    return StreamRow(len(streams), p50, p95, p99, float(kept.mean()) / 1000 / interval)


def _chunks(task: Task, interval: float) -> list[Any]:
    """Return what a stream is pushed, one after the other: a step of the task's sample, or an interval of sound."""
    if isinstance(task, SpeechRecognition) or (isinstance(task, SeriesClassification) and task.hears):
        rate = task.sample_rate if isinstance(task, SpeechRecognition) else task.config.sample_rate
        sound = np.random.default_rng(0).normal(scale=0.1, size=(50, max(1, round(interval * rate))))
        return list(sound.astype(np.float32))
    if isinstance(task, SeriesClassification):
        channels = len(task.means)
        examples = read_series([task.demo_data()]).examples
        rows = [row for one in examples for row in one.values] if channels == 3 else [task.means] * 10
        return [np.asarray(row, dtype=np.float32)[None] for row in rows[:1000]]
    if isinstance(task, Forecasting):
        return [[float(value)] for value in 10 + np.random.default_rng(0).normal(size=100)]
    text = "".join(document.text for document in read_text([task.demo_data()]).documents)[:SAMPLED_CHARACTERS]
    return [f"{word} " for word in text.split()]
