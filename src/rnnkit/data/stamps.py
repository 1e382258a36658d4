"""Time stamps as people write them, and the regular grid of steps they stand on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import numpy as np

from rnnkit.errors import DataError

DAY = 86_400
WEEK = 7 * DAY
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%Y-%m", "%Y/%m")
DATES += ("%d %b %Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y")
TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H", "%I:%M:%S %p", "%I:%M %p")
ZONES = ("", "%z", " %z")
ISO = "ISO 8601"  # read by datetime.fromisoformat, ten times as quick
STYLES = (ISO, *DATES, *(f"{date} {time}{zone}" for zone in ZONES for time in TIMES for date in DATES))
WRITTEN = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%b": "Mon", "%B": "Month", "%H": "hh", "%I": "hh"}
WRITTEN |= {"%M": "mm", "%S": "ss", ".%f": ".s", "%p": "AM", "%z": "+hh:mm"}
MONTHS = {range(28, 32): 1, range(59, 63): 2, range(89, 93): 3, range(181, 185): 6, range(365, 367): 12}
NAMES = {1: "every second", 60: "every minute", 3600: "hourly", DAY: "daily", WEEK: "weekly"}
MONTH_NAMES = {1: "monthly", 3: "quarterly", 6: "twice a year", 12: "yearly"}
EPOCH_SECONDS, EPOCH_MILLISECONDS = 10**8, 10**11  # whole numbers from there on are counted from 1970
YEARS = (1000, 3000)
OFF_GRID = 0.05  # share of steps that may differ from the usual one by no whole number of it


@dataclass(frozen=True)
class Frequency:
    """A grid of steps, numbered from 1970 on, or from 0 where there are no dates.

    Attributes:
        unit: What is counted.
        count: So many of them a step.
        offset: Seconds from the start of a step's unit to its stamps; the last day of a month that is too short for it.
        phase: Of steps of several months, which month of them has the stamps, from 0.
    """

    unit: Literal["step", "second", "business day", "month"]
    count: int = 1
    offset: int = 0
    phase: int = 0

    @property
    def words(self) -> str:
        """Say how often, as "hourly"."""
        if self.unit == "step":
            return "numbered"
        if self.unit == "business day":
            return "every business day"
        if self.unit == "month":
            return MONTH_NAMES.get(self.count, f"every {self.count} months")
        if self.count in NAMES:
            return NAMES[self.count]
        for size, name in ((DAY, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")):
            if self.count % size == 0:
                return f"every {self.count // size} {name}"
        raise AssertionError(self.count)

    @property
    def is_days(self) -> bool:
        """Whether a step is a whole number of days."""
        return self.unit in ("business day", "month") or (self.unit == "second" and self.count % DAY == 0)

    @property
    def season(self) -> int:
        """How many steps the usual season has: a day of hours or less, a week of days, a year of months; 1 is none."""
        if self.unit == "business day":
            return 5
        if self.unit == "month":
            return max(12 // self.count, 1)
        if self.unit == "step" or self.count > WEEK:
            return 1
        for period in (DAY, WEEK, 52 * WEEK):
            if self.count < period and period % self.count == 0:
                return period // self.count
        return 1

    def numbers(self, stamps: np.ndarray) -> np.ndarray:
        """Return the number of the step that each stamp falls on.

        Args:
            stamps: (time,) datetime64[s], or int64 where steps are numbered.

        Returns:
            (time,) int64.
        """
        if self.unit == "step":
            return stamps.astype(np.int64) // self.count
        if self.unit == "business day":
            return np.busday_count(np.datetime64("1970-01-01"), stamps.astype("datetime64[D]"))
        if self.unit == "month":
            return (stamps.astype("datetime64[M]").astype(np.int64) - self.phase) // self.count
        return np.round((stamps.astype(np.int64) - self.offset) / self.count).astype(np.int64)

    def stamps(self, numbers: np.ndarray) -> np.ndarray:
        """Return the stamp of each step: (time,) datetime64[s], or the numbers where steps are numbered."""
        if self.unit == "step":
            return numbers * self.count
        if self.unit == "business day":
            days = np.busday_offset("1970-01-01", numbers, roll="forward")
            return days.astype("datetime64[s]") + np.timedelta64(self.offset, "s")
        if self.unit == "month":
            starts, ends = ((numbers * self.count + self.phase + more).astype("datetime64[M]") for more in (0, 1))
            starts, last = starts.astype("datetime64[s]"), ends.astype("datetime64[s]") - np.timedelta64(DAY, "s")
            return np.minimum(starts + np.timedelta64(self.offset, "s"), last + np.timedelta64(self.offset % DAY, "s"))
        return (numbers * self.count + self.offset).astype("datetime64[s]")


def infer_frequency(series: Sequence[np.ndarray], names: Sequence[str]) -> Frequency:
    """Find the grid that the stamps of all series stand on.

    Args:
        series: (time,) each, in order and each stamp once: datetime64[s], or int64 numbers.
        names: Of the series.

    Returns:
        The frequency.

    Raises:
        DataError: If two series have different ones, or a series none.
    """
    found: dict[Frequency, str] = {}
    for stamps, name in zip(series, names, strict=True):
        if len(stamps) > 1:
            found.setdefault(_frequency(stamps, name), name)
    kinds = {(one.unit, one.count): (one, name) for one, name in found.items()}
    if not kinds:
        raise DataError("no series has two time stamps; expected at least two, a step apart.")
    if len(kinds) > 1:
        (first, one), (second, other), *_ = kinds.values()
        raise DataError(
            f"series {one!r} is {first.words} and series {other!r} is {second.words}; expected one frequency: "
            "train a model for each, or resample them."
        )
    return next(iter(kinds.values()))[0]


def _frequency(stamps: np.ndarray, name: str) -> Frequency:
    gaps = np.diff(stamps).astype(np.int64)
    usual = _most_frequent(gaps)
    if stamps.dtype.kind != "M":
        _check_grid(gaps, usual, name)
        return Frequency("step", usual)
    days, rest = divmod(usual, DAY)
    months = [count for lengths, count in MONTHS.items() if days in lengths] if not rest else []
    offset = int((stamps[0] - stamps[0].astype("datetime64[M]")).astype(np.int64))
    if months and len(set((stamps.astype("datetime64[D]") - stamps.astype("datetime64[M]")).tolist())) <= 4:
        phases = stamps.astype("datetime64[M]").astype(np.int64) % months[0]
        if (phases == phases[0]).all():
            return Frequency("month", months[0], offset, int(phases[0]))
    weekdays = np.is_busday(stamps.astype("datetime64[D]"))
    if usual == DAY and weekdays.all() and int(gaps.sum()) >= 2 * WEEK:
        return Frequency("business day", 1, int(stamps[0].astype(np.int64)) % DAY)
    _check_grid(gaps, usual, name)
    return Frequency("second", usual, int(stamps[0].astype(np.int64)) % usual)


def _most_frequent(gaps: np.ndarray) -> int:
    values, counts = np.unique(gaps, return_counts=True)
    return int(values[counts.argmax()])


def _check_grid(gaps: np.ndarray, usual: int, name: str) -> None:
    off = gaps % usual != 0
    if off.mean() > OFF_GRID:
        other = int(gaps[off][0])
        raise DataError(
            f"series {name!r} has steps of {usual:,} and of {other:,}{_unit_words(gaps)}; expected stamps on a regular "
            "grid: resample it, or leave the time out to number the rows."
        )


def _unit_words(gaps: np.ndarray) -> str:
    return " seconds" if gaps.max() >= 60 else ""


def parse_stamps(cells: Sequence[str], places: Sequence[str], *, column: str) -> tuple[np.ndarray, list[str]]:
    """Read a column of time stamps.

    Args:
        cells: As written; dates, dates with times, with or without a zone, seconds or milliseconds since 1970, years,
            or plain numbers.
        places: file:line of each.
        column: Its name.

    Returns:
        (cells,) datetime64[s] in UTC where they have a zone, or int64 numbers, and what a person should know.

    Raises:
        DataError: If a cell is no stamp, or two styles of dates meet.
    """
    stripped = [cell.strip() for cell in cells]
    numbers = _whole_numbers(stripped)
    if numbers is not None and not _compact_dates(numbers):
        return _from_numbers(numbers), []
    seconds = _read(stripped, ISO)
    if len(seconds) == len(stripped):  # no other style reads such a cell as another time
        return np.array(seconds, dtype="datetime64[s]"), []
    styles = _styles(stripped[0], places[0], column)
    read = {style: _read(stripped, style) for style in styles}
    whole = [style for style in styles if len(read[style]) == len(stripped)]
    if not whole:
        longest = max(styles, key=lambda style: len(read[style]))
        wrong = len(read[longest])
        others = _styles(stripped[wrong], places[wrong], column)
        raise DataError(
            f"{places[wrong]}: {column} is {stripped[wrong]!r}, which is {_shown(others[0])}; the rows above are "
            f"{_shown(longest)}, as {stripped[0]!r}: expected one style of dates."
        )
    style = min(whole, key=lambda one: len(np.unique(np.diff(read[one]))))
    notes = [f"{column}: times are kept in UTC"] if "%z" in style else []
    if any(read[other] != read[style] for other in whole):
        notes.append(f"{column}: {stripped[0]!r} is read as {_shown(style)}, by which the steps are most even")
    return np.array(read[style], dtype="datetime64[s]"), notes


def _whole_numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Return the cells as int64, if that is what all of them are."""
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except ValueError:
        return None


def _compact_dates(numbers: np.ndarray) -> bool:
    """Whether whole numbers are dates without signs between, as 20240131."""
    months, days = numbers // 100 % 100, numbers % 100
    years = numbers // 10_000
    inside = (years >= YEARS[0]) & (years < YEARS[1]) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    return bool(inside.all())


def _from_numbers(numbers: np.ndarray) -> np.ndarray:
    least, most = int(numbers.min()), int(numbers.max())
    if least >= EPOCH_MILLISECONDS:
        return (numbers // 1000).astype("datetime64[s]")
    if least >= EPOCH_SECONDS:
        return numbers.astype("datetime64[s]")
    if YEARS[0] <= least and most < YEARS[1]:
        return (numbers - 1970).astype("datetime64[Y]").astype("datetime64[s]")
    return numbers


def _styles(cell: str, place: str, column: str) -> list[str]:
    """List the styles that a cell can be read by."""
    found = [style for style in _styles_of_shape(re.sub(r"\d", "1", cell)) if _parsed(cell, style) is not None]
    if not found:
        raise DataError(
            f"{place}: {column} is {cell!r}, which is no time stamp; expected a date as 2024-01-31, a date and a time "
            "as 2024-01-31 18:00, seconds since 1970, or a number."
        )
    return found


@lru_cache(maxsize=256)
def _styles_of_shape(ones: str) -> list[str]:
    """List the styles of cells whose digits are all ones: those of other digits have no style besides."""
    return [style for style in STYLES if _parsed(ones, style) is not None]


def _read(cells: Sequence[str], style: str) -> list[int]:
    """Read cells, up to the first that is not of the style, as seconds since 1970."""
    stamps: list[int] = []
    for cell in cells:
        seconds = _parsed(cell, style)
        if seconds is None:
            break
        stamps.append(seconds)
    return stamps


def _parsed(cell: str, style: str) -> int | None:
    try:
        moment = datetime.fromisoformat(cell) if style == ISO else datetime.strptime(cell, style)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _shown(style: str) -> str:
    """Write a style as people do."""
    if style == ISO:
        return "YYYY-MM-DD"
    for code, words in WRITTEN.items():
        style = style.replace(code, words)
    return style
