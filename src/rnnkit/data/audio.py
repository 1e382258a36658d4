"""Recordings as the files people have, and as a network hears them: energies of mel bands, a frame every 10 ms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.errors import ConfigError, DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
BANDS = 40
WINDOW_SECONDS, SHIFT_SECONDS = 0.025, 0.01


def is_audio(name: str) -> bool:
    """Whether a file of this name is a recording."""
    return name.lower().endswith(AUDIO_SUFFIXES)


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
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise _missing(error) from None
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file. Check the name and the folder.")
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DataError(f"{path}: this is no recording that can be read ({error}); convert it to .wav.") from None
    samples = channels.mean(axis=1)
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: a sample is not finite; write the recording again.")
    return samples if rate == sample_rate else soxr.resample(samples, rate, sample_rate)


def log_mel(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Turn sound into the logarithms of the energies in mel bands, as Kaldi does, without dither.

    A frame is made of its own 25 ms of samples and nothing else, so that frames of sound in pieces are those of the
    whole. What is left after the last whole frame is left out.

    Args:
        samples: (samples,) in [-1, 1].
        sample_rate: Samples a second.

    Returns:
        (frames, BANDS) float32, a frame every `frame_shift(sample_rate)` samples.

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
    options.mel_opts.num_bins = BANDS
    frames = kaldi.OnlineFbank(options)
    frames.accept_waveform(sample_rate, np.asarray(samples, dtype=np.float32).tolist())
    rows = [frames.get_frame(index) for index in range(frames.num_frames_ready)]
    return np.array(rows, dtype=np.float32).reshape(len(rows), BANDS)


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


def frame_shift(sample_rate: int) -> int:
    """Return the samples from one frame to the next."""
    return int(sample_rate * SHIFT_SECONDS)


def frame_length(sample_rate: int) -> int:
    """Return the samples in a frame."""
    return int(sample_rate * WINDOW_SECONDS)


def _missing(error: ImportError) -> ConfigError:
    return ConfigError(f"audio needs a package that is missing ({error}): pip install 'rnnkit[speech]'")
