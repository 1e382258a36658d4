"""Labelled series of measurements from the files people keep them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnkit.data.series_files import SeriesColumns, file_readers
from rnnkit.data.tables import row_notes
from rnnkit.errors import DataError

__all__ = ["Series", "SeriesColumns", "SeriesSet", "read_series"]


@dataclass(frozen=True)
class Series:
    """One series: (time, channels) float32, NaN where a value is missing, its label or none, and where it stands."""

    values: np.ndarray
    labels: tuple[str, ...]
    source: str
    line: int

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True)
class SeriesSet:
    """Series in reading order, the names of their channels, and what a person should know of the reading."""

    examples: tuple[Series, ...]
    channels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, int, str], ...] = ()
    audio: bool = False
    """Whether they are recordings."""

    def __len__(self) -> int:
        return len(self.examples)


def read_series(
    paths: Sequence[str | Path],
    columns: SeriesColumns = SeriesColumns(),  # noqa: B008 - frozen
    *,
    labelled: bool = True,
) -> SeriesSet:
    """Read series of measurements.

    Args:
        paths: Files: .ts (aeon, sktime), JSON lines with lists of points, a long CSV with a column of series, .npz,
            recordings, tables and JSON lines that name recordings; or folders that hold for each label a folder of CSV
            files or recordings, a series each. Text files may be gzipped.
        columns: Where values and labels stand.
        labelled: Whether a series without a label is of no use.

    Returns:
        The series, all of the same channels. One that cannot be used is left out and named in a note.

    Raises:
        ConfigError: If a column is not there.
        DataError: If a file cannot be used, naming it and the line.
    """
    examples: list[Series] = []
    notes: list[str] = []
    bad: list[tuple[str, int, str]] = []
    channels: tuple[str, ...] = ()
    audio = False
    for path in map(Path, paths):
        good, wrong = len(examples), len(bad)
        for file, read in file_readers(path, columns, labelled=labelled):
            found = read(file)
            if channels and len(found.channels) != len(channels):
                raise DataError(
                    f"{file}: its series have {len(found.channels)} channels, those of the files before it "
                    f"{len(channels)}; expected the same."
                )
            channels, audio = channels or found.channels, audio or found.audio
            notes += found.notes
            bad += [(str(file), line, reason) for line, reason in found.problems]
            examples += [Series(values, labels, str(file), line) for line, values, labels in found.rows]
        notes += row_notes(bad[wrong:], len(examples) - good + len(bad) - wrong)
    if not examples:
        raise DataError(f"{', '.join(map(str, paths))}: there is no series in it; expected at least one.")
    return SeriesSet(tuple(examples), channels, tuple(dict.fromkeys(notes)), tuple(bad), audio)
