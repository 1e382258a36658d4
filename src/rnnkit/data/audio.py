"""Recordings as the files people have, and as a network hears them: energies of mel bands, a frame every 10 ms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.errors import ConfigError, DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
BANDS = 40
WINDOW_SECONDS, SHIFT_SECONDS = 0.025, 0.01
UNKNOWN_SIZE = 2**31 - 1  # bytes: where the head of a .wav promises as many, its writer did not know


def is_audio(name: str) -> bool:
    """Whether a file of this name is a recording."""
    return name.lower().endswith(AUDIO_SUFFIXES)


@dataclass(frozen=True)
class AudioFacts:
    """What the head of a recording says of it."""

    sample_rate: int
    """Samples a second, of each channel."""
    channels: int
    samples: int
    """Of each channel."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.sample_rate


def audio_facts(path: str | Path) -> AudioFacts:
    """Look at the head of a recording.

    Args:
        path: .wav, .flac, .ogg or .mp3.

    Returns:
        The facts.

    Raises:
        ConfigError: If the package for audio is missing.
        DataError: If there is no such file, or it is no recording, or an empty or truncated one.
    """
    try:
        import soundfile
    except ImportError as error:
        raise _missing(error) from None
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file. Check the name and the folder.")
    try:
        found = soundfile.info(path, verbose=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: this is no recording that can be read ({error}); convert it to .wav.") from None
    if not found.frames:
        raise DataError(f"{path}: there is no sample in it; record it again.")
    _refuse_truncated(path, found.extra_info)
    return AudioFacts(found.samplerate, found.channels, found.frames)


def _refuse_truncated(path: str | Path, said: str) -> None:
    """Compare the length that a .wav's head gives with what follows; a program that writes to a pipe gives the most."""
    for line in said.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "data" and "should be" in rest:
            promised, there = (int(word) for word in rest.replace("(should be", "").replace(")", "").split())
            if there < promised < UNKNOWN_SIZE:
                raise DataError(
                    f"{path}: the file is truncated: of {promised:,} bytes of sound {there:,} are there; copy it again."
                )


def sound_blocks(path: str | Path, sample_rate: int, *, seconds: float = 30.0) -> Iterator[np.ndarray]:
    """Read a recording piece by piece as one channel, the mean of those it has.

    Args:
        path: .wav, .flac, .ogg or .mp3.
        sample_rate: Samples a second to resample it to, if it has another number of them.
        seconds: Of a piece; the samples do not depend on it.

    Yields:
        (samples,) float32 in [-1, 1].

    Raises:
        ConfigError: If the packages for audio are missing.
        DataError: If the file cannot be read.
    """
    facts = audio_facts(path)
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise _missing(error) from None
    resampler = None
    if facts.sample_rate != sample_rate:
        resampler = soxr.ResampleStream(facts.sample_rate, sample_rate, 1, dtype="float32")
    left = facts.samples
    try:
        with soundfile.SoundFile(path) as file:
            while left:
                channels = file.read(round(seconds * facts.sample_rate), dtype="float32", always_2d=True)
                if not len(channels):
                    raise DataError(f"{path}: the file is truncated: {left:,} samples are missing; copy it again.")
                left -= len(channels)
                samples = channels.mean(axis=1)
                if not np.isfinite(samples).all():
                    raise DataError(f"{path}: a sample is not finite; write the recording again.")
                yield samples if resampler is None else resampler.resample_chunk(samples, last=not left)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: the recording cannot be read to its end ({error}); copy it again.") from None


def read_audio(path: str | Path, sample_rate: int) -> np.ndarray:
    """Read a recording as one channel, the mean of those it has.

    Args:
        path: .wav, .flac, .ogg or .mp3.
        sample_rate: Samples a second to resample it to, if it has another number of them.

    Returns:
        (samples,) float32 in [-1, 1].

    Raises:
        ConfigError: If the packages for audio are missing.
        DataError: If the file cannot be read.
    """
    return np.concatenate(list(sound_blocks(path, sample_rate)))


def log_mel(samples: np.ndarray, sample_rate: int, *, bands: int = BANDS) -> np.ndarray:
    """Turn sound into the logarithms of the energies in mel bands, as Kaldi does, without dither.

    A frame is made of its own 25 ms of samples and nothing else, so that frames of sound in pieces are those of the
    whole. What is left after the last whole frame is left out.

    Args:
        samples: (samples,) in [-1, 1].
        sample_rate: Samples a second.
        bands: How many.

    Returns:
        (frames, bands) float32, a frame every `frame_shift(sample_rate)` samples.

    Raises:
        ConfigError: If the package for audio is missing.
    """
    try:
        import kaldi_native_fbank as kaldi
    except ImportError as error:
        raise _missing(error) from None
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = sample_rate
    options.frame_opts.frame_length_ms = 1000 * WINDOW_SECONDS
    options.frame_opts.frame_shift_ms = 1000 * SHIFT_SECONDS
    options.mel_opts.num_bins = bands
    frames = kaldi.OnlineFbank(options)
    frames.accept_waveform(sample_rate, np.asarray(samples, dtype=np.float32).tolist())
    rows = [frames.get_frame(index) for index in range(frames.num_frames_ready)]
    return np.array(rows, dtype=np.float32).reshape(len(rows), bands)


def hear(
    named: Iterable[tuple[int, Path, Any]], sample_rate: int
) -> tuple[list[tuple[int, np.ndarray, tuple[str, ...]]], list[tuple[int, str]]]:
    """Read recordings as series of mel bands.

    Args:
        named: Line, file and label of each; None and "" are no label.
        sample_rate: Samples a second to resample them to.

    Returns:
        Line, (frames, BANDS) and labels of each that can be read; line and reason of the others.
    """
    rows: list[tuple[int, np.ndarray, tuple[str, ...]]] = []
    problems: list[tuple[int, str]] = []
    for line, path, label in named:
        try:
            values = log_mel(read_audio(path, sample_rate), sample_rate)
            if not len(values):
                raise DataError(f"{path}: the recording is shorter than {WINDOW_SECONDS} s")
        except DataError as error:
            problems.append((line, str(error)))
        else:
            rows.append((line, values, () if label in (None, "") else (str(label),)))
    return rows, problems


class Hearing:
    """Turns sound that arrives in pieces into the frames of the whole, bit by bit.

    Args:
        sample_rate: Samples a second.
        bands: How many.

    Attributes:
        rest: (samples,) float32 that no whole frame has used up: less than a frame of them between calls.

    Example:
        >>> hearing = Hearing(8000)
        >>> [len(hearing.push(np.zeros(count))) for count in (100, 100, 80)]
        [0, 1, 1]
    """

    def __init__(self, sample_rate: int, *, bands: int = BANDS) -> None:
        self.sample_rate, self.bands = sample_rate, bands
        self.rest = np.empty(0, dtype=np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take more samples, (samples,) in [-1, 1], and return the frames that are whole now, (frames, bands)."""
        self.rest = np.concatenate([self.rest, np.asarray(samples, dtype=np.float32)])
        frames = log_mel(self.rest, self.sample_rate, bands=self.bands)
        self.rest = self.rest[len(frames) * frame_shift(self.sample_rate) :]
        return frames


def frame_shift(sample_rate: int) -> int:
    """Return the samples from one frame to the next."""
    return int(sample_rate * SHIFT_SECONDS)


def frame_length(sample_rate: int) -> int:
    """Return the samples in a frame."""
    return int(sample_rate * WINDOW_SECONDS)


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"audio needs a package that is missing ({error}): pip install 'rnnkit[speech]'")


def checked_samples(samples: np.ndarray) -> np.ndarray:
    """Return samples, or refuse what is none by a DataError."""
    if samples.ndim != 1 or not np.isfinite(samples).all():
        what = f"the shape {samples.shape}" if samples.ndim != 1 else "a sample that is not finite"
        raise DataError(f"a recording has {what}; expected (samples,) finite numbers in [-1, 1].")
    return samples
