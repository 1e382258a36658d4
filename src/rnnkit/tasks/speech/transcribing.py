"""Recordings to transcripts: short ones in batches, long ones piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnkit.data.audio import audio_facts, checked_samples, log_mel, read_audio, sound_blocks
from rnnkit.data.recordings import Recording
from rnnkit.decoding.hypotheses import Answer
from rnnkit.streaming import work_alone
from rnnkit.tasks.speech.listener import Listener
from rnnkit.tasks.speech.results import OtherTranscript, Transcript
from rnnkit.tasks.speech.search import Search
from rnnkit.tasks.speech.text import confidence, step_seconds, words, written

if TYPE_CHECKING:
    from rnnkit.tasks.speech.task import SpeechRecognition

LONG_SECONDS = 60.0  # read piece by piece from there on, where the model can

Input = Recording | str | Path | np.ndarray


def transcribe(
    model: SpeechRecognition, inputs: Sequence[Input], *, candidates: int, search: Search
) -> list[Transcript]:
    """Say what is said in recordings.

    Args:
        model: The recogniser.
        inputs: Recordings, names of files, or (samples,) at the model's sample rate.
        candidates: How many readings to name.
        search: How to look for the likeliest text.

    Returns:
        One transcript each.

    Raises:
        DataError: If a recording cannot be read.
    """
    found: dict[int, Transcript] = {}
    short: dict[int, tuple[str, np.ndarray, float]] = {}
    for place, one in enumerate(inputs):
        name, files = _files(one, place)
        seconds = _seconds(one, files, model.sample_rate)
        if seconds > LONG_SECONDS and model.network.streamable:
            answers = _listen(model, one, files, candidates=candidates, search=search)
            found[place] = _transcript(model, name, answers, seconds, candidates=candidates)
        else:
            samples = one if isinstance(one, np.ndarray) else _sound(one, model.sample_rate)
            frames = log_mel(checked_samples(samples), model.sample_rate, bands=model.config.bands)
            short[place] = (name, frames, seconds)
    answers = model.answers([frames for _, frames, _ in short.values()], search=search, count=candidates)
    for (place, (name, _, seconds)), best in zip(short.items(), answers, strict=True):
        found[place] = _transcript(model, name, best, seconds, candidates=candidates)
    return [found[place] for place in range(len(inputs))]


def _files(one: Input, place: int) -> tuple[str, tuple[Path, ...]]:
    """Name an input, and its files."""
    if isinstance(one, Recording):
        return " ".join(map(str, one.paths)), one.paths
    if isinstance(one, np.ndarray):
        return f"recording {place + 1}", ()
    return str(one), (Path(one),)


def _seconds(one: Input, files: Sequence[Path], sample_rate: int) -> float:
    if isinstance(one, np.ndarray):
        return len(one) / sample_rate
    return one.seconds if isinstance(one, Recording) else sum(audio_facts(path).seconds for path in files)


def _sound(one: Recording | str | Path, sample_rate: int) -> np.ndarray:
    return one.samples(sample_rate) if isinstance(one, Recording) else read_audio(one, sample_rate)


def _listen(
    model: SpeechRecognition, one: Input, files: Sequence[Path], *, candidates: int, search: Search
) -> list[Answer]:
    """Read a long recording piece by piece, in memory that does not grow with it."""
    listener, decoder = Listener(model), model.decoder(search)
    size = round(LONG_SECONDS / 2 * model.sample_rate)
    blocks = (
        (one[first : first + size] for first in range(0, len(one), size))
        if isinstance(one, np.ndarray)
        else (block for path in files for block in sound_blocks(path, model.sample_rate))
    )
    for block in blocks:
        decoder.push(work_alone(listener.taking(checked_samples(block))))
    decoder.push(work_alone(listener.ending()))
    return decoder.answers(candidates, ended=True)


def _transcript(
    model: SpeechRecognition, name: str, answers: Sequence[Answer], seconds: float, *, candidates: int
) -> Transcript:
    best = answers[0].said
    heard = words(model.vocabulary, best, step_seconds=step_seconds(model.config), most=seconds)
    others = tuple(OtherTranscript(written(model.vocabulary, one.said), one.score) for one in answers)
    text = written(model.vocabulary, best)
    return Transcript(name, text, heard, confidence(best), round(seconds, 3), others if candidates > 1 else ())
