"""The files that hold series over time: long tables, wide ones, a series a row; CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnkit.data.frames import MISSING, Frame, read_frame
from rnnkit.data.panel import Column, Panel, TimeSeries, duplicated, on_grid
from rnnkit.data.stamps import Frequency, infer_frequency, parse_stamps
from rnnkit.errors import DataError

TIME_NAMES = ("ds", "date", "datetime", "time", "timestamp", "date_time", "day", "week", "month", "year", "t")
ID_NAMES = ("unique_id", "id", "series_id", "series", "item_id", "ticker", "symbol", "store", "name")
TARGET_NAMES = ("y", "value", "target", "values", "close", "sales", "demand")
PARTS_OF_TIME = ("year", "month", "day", "hour", "minute", "second")
LEAST_ROW_STEPS = 5  # values in a row of a table that has a series a row
SHOWN = 3


@dataclass(frozen=True)
class PanelColumns:
    """How to find series in a table; what is None is found out."""

    time: str | None = None
    """Heading of the column of time stamps, or of several that together are one (year,month,day,hour)."""
    target: str | None = None
    """Headings of the values to forecast, with commas between; each is a series of its own."""
    id: str | None = None
    """Heading of the column that tells the series of a long table apart."""
    past: tuple[str, ...] = ()
    """Headings of what is known up to the present."""
    future: tuple[str, ...] = ()
    """Headings of what is known ahead too."""
    static: tuple[str, ...] = ()
    """Headings of what does not change within a series."""
    layout: Literal["auto", "table", "rows"] = "auto"
    """table has a step a row, rows has a series a row."""
    delimiter: str | None = None
    header: Literal["auto", "present", "absent"] = "auto"


def read_panel_file(path: Path, columns: PanelColumns, *, frequency: Frequency | None = None) -> Panel:
    """Read the series of one file.

    Args:
        path: CSV (plain or .gz) or Parquet.
        columns: Where things stand.
        frequency: Of the steps, where it is known; None infers it.

    Returns:
        The series.

    Raises:
        ConfigError: If a column is not there.
        DataError: If the file cannot be used, naming it and the line.
    """
    frame = read_frame(path, delimiter=columns.delimiter, header=columns.header, names=_expected(columns))
    if columns.layout == "rows" or (columns.layout == "auto" and _has_series_in_rows(frame, columns)):
        return _read_rows(frame)
    return _read_steps(frame, columns, frequency, ticks=False)


def read_panel_frame(
    table: Any,
    columns: PanelColumns,
    *,
    frequency: Frequency | None = None,
    ticks: bool = False,
    place: tuple[str, int] = ("the frame", 1),
) -> Panel:
    """Read the series of a frame as `read_panel_file` does those of a file.

    Args:
        table: A pandas or polars frame, or a mapping of columns, a step a row.
        columns: Where things stand.
        frequency: Of the steps, where it is known; None infers it.
        ticks: Whether each row tells of a step that is over; else rows after the last value may tell what is ahead.
        place: What it is called in messages, and the line of its first row.

    Returns:
        The series.

    Raises:
        ConfigError: If a column is not there.
        DataError: If the frame cannot be used.
    """
    import narwhals as nw
    import polars as pl

    if isinstance(table, Mapping):
        frame = pl.DataFrame(table)
    else:
        frame = table if isinstance(table, pl.DataFrame) else nw.from_native(table, eager_only=True).to_polars()
    if not frame.height:
        raise DataError("the frame has no row; expected a step a row.")
    return _read_steps(Frame(place[0], frame, place[1], True, ()), columns, frequency, ticks=ticks)


def _expected(columns: PanelColumns) -> list[str]:
    named = [columns.time, columns.target, columns.id, *columns.past, *columns.future, *columns.static]
    return [part.strip().lower() for name in named if name for part in name.split(",")] + [*TIME_NAMES, *ID_NAMES]


# A series a row


def _has_series_in_rows(frame: Frame, columns: PanelColumns) -> bool:
    if (
        any((columns.time, columns.target, columns.id, columns.past, columns.future))
        or len(frame.headings) < LEAST_ROW_STEPS
    ):
        return False
    first, *others = frame.headings
    names = frame.cells(first)
    if len(set(names)) < len(names) or frame.is_numeric(first) or _reads_as_time(frame, first):
        return False
    return all(frame.is_numeric(name) for name in others[:LEAST_ROW_STEPS])


def _reads_as_time(frame: Frame, name: str) -> bool:
    try:
        parse_stamps(frame.cells(name)[:SHOWN], [""] * SHOWN, column=name)
    except DataError:
        return False
    return True


def _read_rows(frame: Frame) -> Panel:
    """Read M4's files: a name, then its values, empty at the end of the shorter ones."""
    first, *others = frame.headings
    values = np.stack([frame.numbers(name, what="value") for name in others], axis=1)
    series = []
    for row, (name, all_values) in enumerate(zip(frame.cells(first), values, strict=True)):
        present = np.flatnonzero(~np.isnan(all_values))
        if not len(present):
            raise DataError(f"{frame.place(row)}: series {name!r} has no value; expected at least one.")
        series.append(TimeSeries(name, 0, all_values[: present[-1] + 1], {}, {}, {}, frame.place(row)))
    note = f"{frame.path}: a series a row, {len(series):,} series"
    return Panel(tuple(series), Frequency("step"), (*frame.notes, note))


# A step a row


def _read_steps(frame: Frame, columns: PanelColumns, known: Frequency | None, *, ticks: bool) -> Panel:
    time = _time_columns(frame, columns)
    key = _id_column(frame, columns, time)
    beside = tuple(
        {name: _covariate(frame, name) for name in (frame.find(one, option=f"{option}_columns") for one in wanted)}
        for option, wanted in (("past", columns.past), ("future", columns.future), ("static", columns.static))
    )
    taken = {*time, *([key] if key else []), *(name for some in beside for name in some)}
    targets = _target_columns(frame, columns, taken=taken)
    stamps, notes = _stamps(frame, time)
    values = {name: frame.numbers(name, what="target column") for name in targets}
    groups = list(_groups(frame.cells(key))) if key else [("", np.arange(frame.table.height))]
    if known is None:
        unique = [np.unique(stamps[rows]) for _, rows in groups]
        try:
            frequency = infer_frequency(unique, [name or targets[0] for name, _ in groups])
        except DataError as error:
            raise DataError(f"{frame.path}: {error}") from None
    else:
        frequency = known
        _check_grid(frame, stamps, known)
    series, doubles = [], 0
    for name, rows in groups:
        numbers = frequency.numbers(stamps[rows])
        doubles += int(duplicated(numbers).sum())
        for target, column in values.items():
            label = " ".join(part for part in (name, target if len(targets) > 1 or not name else "") if part)
            valued = numbers[~np.isnan(column[rows])]
            if known is None and not len(valued):
                raise DataError(f"{frame.place(int(rows[0]))}: series {label!r} has no value; expected at least one.")
            # Steps before the first value are none; those after the last one are ahead, if something is known of them.
            first = int((valued if known is None else numbers).min())
            whole = known is not None and (ticks or not columns.future)
            end = int((numbers if whole else valued).max(initial=first - 1)) + 1
            series.append(
                _series(label, frame.place(int(rows[0])), column, numbers, rows=rows, beside=beside, span=(first, end))
            )
    said = ", ".join(targets)
    notes = [*frame.notes, *notes, f"{frame.path}: {said} {frequency.words}, {len(series):,} series"]
    if doubles:
        notes.append(f"{frame.path}: {doubles:,} rows stand on a step that a later row has too: the later one counts")
    return Panel(tuple(series), frequency, tuple(notes))


def _check_grid(frame: Frame, stamps: np.ndarray, frequency: Frequency) -> None:
    """Refuse stamps that are not on a grid."""
    if (stamps.dtype.kind == "M") != (frequency.unit != "step"):
        raise DataError(f"{frame.path}: its times are of another kind than those the model knows.")
    off = np.flatnonzero(frequency.stamps(frequency.numbers(stamps)) != stamps)
    if len(off):
        raise DataError(
            f"{frame.place(int(off[0]))}: the time {stamps[off[0]]} is on no step; the series are {frequency.words}, "
            f"as {frequency.stamps(frequency.numbers(stamps[off[:1]]))[0]}."
        )


def _series(
    name: str,
    place: str,
    target: np.ndarray,
    numbers: np.ndarray,
    *,
    rows: np.ndarray,
    beside: Sequence[dict[str, Column]],
    span: tuple[int, int],
) -> TimeSeries:
    """Lay the rows of one series out on the grid, from the first step of a span to its end."""
    first, end = span
    last = max(end, int(numbers.max()) + 1)
    inside = numbers >= first
    past, future, static = beside

    def laid(column: np.ndarray, until: int) -> np.ndarray:
        kept = inside & (numbers < until)
        return on_grid(numbers[kept], column[rows[kept]], first=first, time=until - first)

    return TimeSeries(
        name,
        first,
        laid(target, end),
        {key: laid(column, end) for key, column in past.items()},
        {key: laid(column, last) for key, column in future.items()},
        {key: _cell(column, int(rows[-1])) for key, column in static.items()},
        place,
    )


def _cell(column: Column, row: int) -> float | str | None:
    """Return one cell of a column."""
    cell = column[row]
    return float(cell) if column.dtype.kind == "f" else cell


def _groups(keys: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    names, inverse = np.unique(np.array(keys, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(inverse, minlength=len(names)))[:-1])
    yield from sorted(zip(names.tolist(), parts, strict=True), key=lambda one: int(one[1][0]))


def _covariate(frame: Frame, name: str) -> Column:
    if frame.is_numeric(name):
        return frame.numbers(name, what="column")
    cells = [cell.strip() for cell in frame.cells(name)]
    return np.array([None if cell.lower() in MISSING else cell for cell in cells], dtype=object)


def _time_columns(frame: Frame, columns: PanelColumns) -> list[str]:
    if columns.time is not None:
        return [frame.find(part, option="time_column") for part in columns.time.split(",")]
    known = {name.strip().lower(): name for name in frame.headings}
    for name in TIME_NAMES[:6]:
        if name in known:
            return [known[name]]
    parts = [known[name] for name in PARTS_OF_TIME if name in known]
    if len(parts) > 1 and parts[0].strip().lower() == "year":
        return parts
    single = [known[name] for name in TIME_NAMES[6:] if name in known]
    if single:
        return single[:1]
    first = frame.headings[0]
    return [first] if not frame.is_numeric(first) and _reads_as_time(frame, first) else []


def _stamps(frame: Frame, time: list[str]) -> tuple[np.ndarray, list[str]]:
    rows = frame.table.height
    if not time:
        return np.arange(rows), [f"{frame.path}: no column of time stamps: rows are numbered"]
    places = [frame.place(row) for row in range(rows)]
    if len(time) == 1:
        return parse_stamps(frame.cells(time[0]), places, column=time[0])
    parts = [frame.numbers(name, what="time column") for name in time]
    for name, part in zip(time, parts, strict=True):
        if np.isnan(part).any():
            raise DataError(f"{places[int(np.isnan(part).argmax())]}: {name!r} is missing; expected a number.")
    filled = [*parts, *(np.ones(rows) if index < 3 else np.zeros(rows) for index in range(len(parts), 6))]
    year, month, day, *clock = (part.astype(np.int64) for part in filled)
    days = ((year - 1970) * 12 + month - 1).astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
    seconds = np.stack(clock, axis=1) @ np.array([3600, 60, 1])
    return days.astype("datetime64[s]") + seconds.astype("timedelta64[s]"), []


def _id_column(frame: Frame, columns: PanelColumns, time: list[str]) -> str | None:
    if columns.id is not None:
        return frame.find(columns.id, option="id_column")
    known = {name.strip().lower(): name for name in frame.headings if name not in time}
    found = [known[name] for name in ID_NAMES if name in known]
    return found[0] if found else None


def _target_columns(frame: Frame, columns: PanelColumns, *, taken: set[str]) -> list[str]:
    if columns.target is not None:
        return [frame.find(part, option="target_column") for part in columns.target.split(",")]
    known = {name.strip().lower(): name for name in frame.headings if name not in taken}
    for name in TARGET_NAMES:
        if name in known:
            return [known[name]]
    numeric = [name for name in known.values() if frame.is_numeric(name)]
    if not numeric:
        shown = ", ".join(frame.headings[:SHOWN])
        raise DataError(f"{frame.path}: no column holds numbers ({shown}, ...); name the values by --target-column.")
    return numeric
