"""The files that hold series: .ts, JSON lines, CSV, .npz and recordings, each to arrays with their lines."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.audio import BANDS, hear, is_audio
from rnnkit.data.examples import JSON_SUFFIXES, LABEL_NAMES, json_lines
from rnnkit.data.points import points
from rnnkit.data.readers import read_text
from rnnkit.data.tables import Table, read_table
from rnnkit.errors import ConfigError, DataError

ID_NAMES = ("id", "series", "series_id", "sequence", "sequence_id", "case", "case_id", "recording", "session", "uid")
TIME_NAMES = ("time", "timestamp", "t", "step", "index", "frame", "ms", "seconds")
VALUE_ARRAYS = ("values", "X", "x", "data", "series")
LABEL_ARRAYS = ("labels", "y", "label", "target", "targets")
MISSING = ("?", "", "nan", "NaN", "NA", "null")


@dataclass(frozen=True)
class SeriesColumns:
    """How to find values and labels in a file; what is None is found out."""

    values: str | None = None
    """JSON key of the points, or headings of the channels' columns with commas between."""
    label: str | None = None
    id: str | None = None
    """Column that tells the series of a long table apart."""
    time: str | None = None
    """Column by which the rows of a series are put in order."""
    sample_rate: int = 16_000
    """Samples a second that recordings are resampled to."""


@dataclass(frozen=True)
class SeriesFile:
    """What one file gave: line, values and labels of each series; channels; problems as (line, reason); notes."""

    rows: list[tuple[int, np.ndarray, tuple[str, ...]]]
    channels: tuple[str, ...]
    problems: list[tuple[int, str]]
    notes: list[str]
    audio: bool = False
    """Whether the series were heard."""


def file_readers(
    path: Path, columns: SeriesColumns, *, labelled: bool
) -> Iterator[tuple[Path, Callable[[Path], SeriesFile]]]:
    """Give each file of a path, a file or folder, with the function that reads it."""
    name = path.name.removesuffix(".gz")
    if path.is_dir():
        yield from _folder(path, columns)
    elif is_audio(name):
        yield path, _one_recording(None, columns)
    elif name.endswith(".ts"):
        yield path, _read_ts
    elif name.endswith(JSON_SUFFIXES):
        yield path, lambda file: _read_json(file, columns, labelled=labelled)
    elif name.endswith(".npz"):
        yield path, lambda file: _read_npz(file, labelled=labelled)
    else:
        yield path, lambda file: _read_long(file, columns, labelled=labelled)


def _usable(values: np.ndarray) -> str | None:
    """Say why a series is of no use; None if it is of use."""
    if not len(values):
        return "it has no point"
    if np.isinf(values).any():
        return "a value is infinite"
    return "every value is missing" if np.isnan(values).all() else None


def _sort_out(
    rows: Sequence[tuple[int, np.ndarray, tuple[str, ...]]], *, labelled: bool
) -> tuple[list[tuple[int, np.ndarray, tuple[str, ...]]], list[tuple[int, str]]]:
    """Part the series that can be used from those that cannot, with the reasons."""
    good, problems = [], []
    for line, values, labels in rows:
        reason = _usable(values) or ("it has no label" if labelled and not labels else None)
        if reason is None:
            good.append((line, values, labels))
        else:
            problems.append((line, reason))
    return good, problems


# .ts


def _read_ts(path: Path) -> SeriesFile:
    """Read a file of the aeon and sktime packages: channels with ":" between, values with ",", the label last."""
    corpus = read_text([path])
    rows: list[tuple[int, np.ndarray, tuple[str, ...]]] = []
    labelled, begun, width = True, False, 0
    for number, line in enumerate(corpus.documents[0].text.split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not begun:
            if not text.startswith("@"):
                raise DataError(f"{path}:{number}: this is {text[:40]!r}; expected a line that begins with @.")
            words = text.lower().split()
            begun = words[0] == "@data"
            if words[0] == "@classlabel":
                labelled = words[1:2] == ["true"]
            if words[:2] == ["@timestamps", "true"]:
                raise DataError(f"{path}:{number}: series with time stamps are not read; expected values alone.")
            continue
        *channels, label = text.split(":") if labelled else (*text.split(":"), "")
        width = width or len(channels)
        if len(channels) != width:
            raise DataError(f"{path}:{number}: there are {len(channels)} channels; expected {width}, as above.")
        rows.append((number, _join_channels(channels, f"{path}:{number}"), (label.strip(),) if label.strip() else ()))
    if not rows:
        raise DataError(f"{path}: there is no series below @data; expected one a line.")
    good, problems = _sort_out(rows, labelled=labelled)
    names = tuple(str(index) for index in range(1, width + 1))
    return SeriesFile(good, names, problems, [*corpus.notes(), f"{path}: .ts, {_count(width, 'channel')}"])


def _join_channels(channels: Sequence[str], place: str) -> np.ndarray:
    columns = []
    for channel in channels:
        try:
            cells = (cell.strip() for cell in channel.split(","))
            columns.append([math.nan if cell in MISSING else float(cell) for cell in cells])
        except ValueError as error:
            raise DataError(
                f"{place}: {error}; expected numbers with commas between, ? where one is missing."
            ) from None
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise DataError(f"{place}: the channels have {', '.join(map(str, sorted(lengths)))} values; expected the same.")
    return np.array(columns, dtype=np.float32).T


# JSON lines


def _read_json(path: Path, columns: SeriesColumns, *, labelled: bool) -> SeriesFile:
    corpus = read_text([path])
    objects = list(json_lines(corpus.documents[0].text, path))
    if not objects:
        raise DataError(f"{path}: there is no JSON object; expected one a line.")
    label = _label_key(objects, columns.label, path, needed=labelled)
    sounds = [key for key, value in objects[0][1].items() if isinstance(value, str) and is_audio(value)]
    if sounds and columns.values in (None, sounds[0]):
        named = [(line, path.parent / str(one.get(sounds[0])), one.get(label or "")) for line, one in objects]
        return _recordings(path, named, columns, labelled=labelled, notes=corpus.notes())
    key = _values_key(objects, columns.values, path)
    rows: list[tuple[int, np.ndarray, tuple[str, ...]]] = []
    problems: list[tuple[int, str]] = []
    width = 0
    for line, one in objects:
        values = points(one.get(key))
        if values is None or (width and values.shape[1] != width and len(values)):
            reason = f"{key} is no list of {width or 'like'} numbers a point"
            problems.append((line, reason))
            continue
        width = width or values.shape[1]
        name = None if label is None else one.get(label)
        rows.append((line, values, () if name in (None, "") else (str(name),)))
    good, more = _sort_out(rows, labelled=labelled)
    names = tuple(key) if len(key) == width > 1 else tuple(str(index) for index in range(1, width + 1))
    said = "" if label is None else f", label from {label!r}"
    note = f"{path}: JSON lines; {_count(width, 'channel')} from {key!r}{said}"
    return SeriesFile(good, names, sorted(problems + more), [*corpus.notes(), note])


def _values_key(objects: Sequence[tuple[int, dict[str, Any]]], wanted: str | None, path: Path) -> str:
    counts = Counter(key for _, one in objects for key in one)
    if wanted is not None:
        if wanted not in counts:
            raise ConfigError(
                f"values_key is {wanted!r}, which {path} does not have; expected one of {', '.join(counts)}"
            )
        return wanted
    line, first = objects[0]
    lists = [key for key, value in first.items() if (found := points(value)) is not None and len(found)]
    if len(lists) != 1:
        kinds = "no list of numbers or points" if not lists else f"several lists: {', '.join(lists)}"
        raise DataError(f"{path}:{line}: there is {kinds}; name the key with --values-key.")
    return lists[0]


def _label_key(
    objects: Sequence[tuple[int, dict[str, Any]]], wanted: str | None, path: Path, *, needed: bool
) -> str | None:
    counts = Counter(key for _, one in objects for key in one)
    if wanted is not None and wanted in counts:
        return wanted
    if wanted is not None and needed:
        raise ConfigError(
            f"label_column is {wanted!r}, which {path} does not have; expected one of {', '.join(counts)}"
        )
    found = next((name for name in LABEL_NAMES if name in counts), None)
    if found is None and needed:
        raise DataError(f"{path}: none of the keys {', '.join(counts)} is a usual label; name it with --label-column.")
    return found


# CSV


def _read_long(path: Path, columns: SeriesColumns, *, labelled: bool) -> SeriesFile:
    """Read a long table: a row a step, a column that tells the series apart, one of labels, the others channels."""
    table = read_table(path, names=(*ID_NAMES, *TIME_NAMES, *LABEL_NAMES))
    sounds = [index for index, cell in enumerate(table.rows[0].cells) if is_audio(cell.strip())] if table.rows else []
    wrong = [(row.line, f"{len(row.cells)} cells, not {table.width}") for row in table.bad]
    if sounds:
        label = _label_column(table, columns, labelled=labelled)
        files = [path.parent / cell.strip() for cell in table.column(sounds[0])]
        labels = [""] * len(files) if label is None else [cell.strip() for cell in table.column(label)]
        named = list(zip([row.line for row in table.rows], files, labels, strict=True))
        return _recordings(path, named, columns, labelled=labelled, wrong=wrong, notes=table.notes)
    identity = _column(table, columns.id, ID_NAMES, option="id_column")
    if identity is None:
        raise DataError(f"{path}: no column tells the series apart; name it with --id-column.")
    time = _column(table, columns.time, TIME_NAMES, option="time_column")
    label = _label_column(table, columns, labelled=labelled)
    channels = _channel_columns(table, columns, taken=(identity, time, label))
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(table.rows):
        groups.setdefault(row.cells[identity], []).append(index)
    values = np.stack([_numbers(table, channel) for channel in channels], axis=1)
    order = None if time is None else _numbers(table, time)
    rows, problems = [], wrong
    for members in groups.values():
        indices = members if order is None else sorted(members, key=lambda index: order[index])
        names = {table.rows[index].cells[label].strip() for index in indices} - {""} if label is not None else set()
        line = table.rows[min(indices)].line
        if len(names) > 1:
            problems.append((line, f"its rows have the labels {', '.join(sorted(names))}"))
        else:
            rows.append((line, values[indices], tuple(names)))
    good, more = _sort_out(rows, labelled=labelled)
    heads = tuple((table.headings or ())[channel] if table.headings else str(channel + 1) for channel in channels)
    note = f"{path}: {table.shape}; series by column {table.name(identity)}, channels {', '.join(heads)}"
    return SeriesFile(good, heads, sorted(problems + more), [*table.notes, note])


def _label_column(table: Table, columns: SeriesColumns, *, labelled: bool) -> int | None:
    label = _column(table, columns.label, LABEL_NAMES, option="label_column", needed=labelled)
    if label is None and labelled:
        raise DataError(f"{table.path}: no column looks like a label; name it with --label-column.")
    return label


def _column(table: Table, wanted: str | None, usual: Sequence[str], *, option: str, needed: bool = True) -> int | None:
    headings = [heading.lower() for heading in table.headings or ()]
    if wanted is not None and (needed or wanted.lower() in headings):
        return table.find(wanted, option=option)
    return next((headings.index(name) for name in usual if name in headings), None)


def _channel_columns(table: Table, columns: SeriesColumns, *, taken: Sequence[int | None]) -> list[int]:
    if columns.values is not None:
        return [table.find(name.strip(), option="values_key") for name in columns.values.split(",")]
    free = [index for index in range(table.width) if index not in taken]
    if not free:
        raise DataError(f"{table.path}: there is no column left for the values; expected at least one channel.")
    return free


def _numbers(table: Table, index: int) -> np.ndarray:
    found = np.empty(len(table.rows), dtype=np.float64)
    for place, row in enumerate(table.rows):
        cell = row.cells[index].strip()
        try:
            found[place] = math.nan if cell in MISSING else float(cell)
        except ValueError:
            raise DataError(
                f"{table.path}:{row.line}: column {table.name(index)} holds {cell[:40]!r}; expected a number, or name "
                "the channels with --values-key."
            ) from None
    return found.astype(np.float32) if not np.isinf(found).any() else found


def _folder(folder: Path, columns: SeriesColumns) -> Iterator[tuple[Path, Callable[[Path], SeriesFile]]]:
    """Take the folders below as labels, each CSV file in them as a series of rows of numbers, each recording as one."""
    count = 0
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        for file in sorted(label.rglob("*")):
            if is_audio(file.name):
                count += 1
                yield file, _one_recording(label.name, columns)
            elif re.search(r"\.(csv|tsv|txt)(\.gz)?$", file.name):
                count += 1
                yield file, _one_series((label.name,))
    if not count:
        raise DataError(
            f"{folder}: the folder holds no LABEL/*.csv and no LABEL/*.wav; expected a folder of series or recordings "
            "for each label."
        )


def _one_series(labels: tuple[str, ...]) -> Callable[[Path], SeriesFile]:
    def read(path: Path) -> SeriesFile:
        table = read_table(path)
        values = np.stack([_numbers(table, index) for index in range(table.width)], axis=1)
        problems = [(row.line, f"{len(row.cells)} cells, not {table.width}") for row in table.bad]
        if problems:
            raise DataError(f"{path}:{problems[0][0]}: the row has {problems[0][1]}; expected the same in every row.")
        good, problems = _sort_out([(1, values, labels)], labelled=True)
        heads = table.headings or tuple(str(index) for index in range(1, table.width + 1))
        return SeriesFile(good, heads, problems, list(table.notes))

    return read


# Recordings


def _recordings(
    path: Path,
    named: Sequence[tuple[int, Path, Any]],
    columns: SeriesColumns,
    *,
    labelled: bool,
    wrong: Sequence[tuple[int, str]] = (),
    notes: Sequence[str] = (),
) -> SeriesFile:
    """Read the recordings that a file names, (line, file, label) each, or that it is itself."""
    rows, problems = hear(named, columns.sample_rate)
    good, more = _sort_out(rows, labelled=labelled)
    problems = [(line, reason.removeprefix(f"{path}: ")) for line, reason in problems]
    note = f"recordings, at {columns.sample_rate:,} samples a second in {BANDS} mel bands, 100 steps a second"
    names = tuple(f"mel {band}" for band in range(1, BANDS + 1))
    return SeriesFile(good, names, sorted([*wrong, *problems, *more]), [*notes, note], audio=True)


def _one_recording(label: str | None, columns: SeriesColumns) -> Callable[[Path], SeriesFile]:
    return lambda file: _recordings(file, [(1, file, label)], columns, labelled=False)


# .npz


def _read_npz(path: Path, *, labelled: bool) -> SeriesFile:
    """Read arrays: values (series, time, channels), labels (series,), lengths (series,) where they differ."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the name and the folder.") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: this is no .npz of plain arrays ({error}); save it with numpy.savez.") from None
    values = next((arrays[name] for name in VALUE_ARRAYS if name in arrays), None)
    labels = next((arrays[name] for name in LABEL_ARRAYS if name in arrays), None)
    if values is None or values.ndim not in (2, 3) or values.dtype.kind not in "fiu":
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise DataError(f"{path}: it holds {found}; expected `values` (series, time, channels) and `labels` (series,).")
    if labelled and (labels is None or labels.shape != (len(values),)):
        shape = "none" if labels is None else str(labels.shape)
        raise DataError(f"{path}: the labels are {shape}; expected ({len(values)},), one a series.")
    values = values[..., None] if values.ndim == 2 else values
    lengths = arrays.get("lengths", np.full(len(values), values.shape[1]))
    if lengths.shape != (len(values),) or lengths.min(initial=0) < 0 or lengths.max(initial=0) > values.shape[1]:
        raise DataError(
            f"{path}: the lengths do not fit {values.shape}; expected ({len(values)},) up to {values.shape[1]}."
        )
    rows = [
        (number + 1, one[:length].astype(np.float32), () if labels is None else (str(labels[number]),))
        for number, (one, length) in enumerate(zip(values, lengths, strict=True))
    ]
    good, problems = _sort_out(rows, labelled=labelled)
    width = values.shape[2]
    return SeriesFile(
        good, tuple(map(str, range(1, width + 1))), problems, [f"{path}: .npz, {_count(width, 'channel')}"]
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
