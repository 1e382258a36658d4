"""Sentences and their translations, from the files people keep them in: tables, JSON lines, parallel files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from rnnkit.data.examples import JSON_SUFFIXES, json_lines
from rnnkit.data.readers import read_text
from rnnkit.data.tables import Table, read_table, row_notes
from rnnkit.errors import ConfigError, DataError

TABLE_SUFFIXES = (".tsv", ".csv", ".tab")
SOURCE_NAMES, TARGET_NAMES = (
    ("source", "src", "input", "question"),
    ("target", "tgt", "translation", "output", "answer"),
)


@dataclass(frozen=True)
class Pair:
    """A text, what it is translated to (several where there are several translations), and where it stands."""

    source: str
    targets: tuple[str, ...]
    path: str
    line: int

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Pairs:
    """Pairs in reading order, and what a person should know of the reading."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def flat(self) -> Iterator[tuple[str, str]]:
        """Give every source with each of its translations."""
        for pair in self.pairs:
            for target in pair.targets:
                yield pair.source, target


@dataclass(frozen=True)
class PairColumns:
    """How to find the two sides in a table; what is None is found out."""

    source: str | None = None
    target: str | None = None
    delimiter: str | None = None
    header: Literal["auto", "present", "absent"] = "auto"


@dataclass(frozen=True)
class _File:
    """What one file gave, and problems as (line, reason)."""

    pairs: list[Pair]
    problems: list[tuple[int, str]]
    notes: list[str]


def read_pairs(paths: Sequence[str | Path], columns: PairColumns = PairColumns()) -> Pairs:
    """Read sentences and their translations.

    Args:
        paths: Tables (.tsv, .csv) or JSON lines; or parallel files of any other name, of which the first holds the
            sources, a line each, and every other one translations of the same lines. Any file may be gzipped.
        columns: Where the sides stand in tables and JSON lines.

    Returns:
        The pairs; neighbours with the same source are one, with several translations. A row that lacks a side is left
        out and named in a note.

    Raises:
        ConfigError: If a column is not there.
        DataError: If a file cannot be used, naming it and the line, or parallel files have different numbers of lines.
    """
    files = [Path(path) for path in paths]
    read_text(files)  # refuses what is missing before anything else is said
    tables = [path for path in files if _is_table(path)]
    if tables and len(tables) < len(files):
        other = next(path for path in files if not _is_table(path))
        raise DataError(
            f"{other} is a plain file and {tables[0]} is a table; expected tables, or parallel files (the sources "
            "first), not both."
        )
    found = [_read_json(path, columns) if _is_json(path) else _read_table(path, columns) for path in tables]
    if not tables:
        found = [_read_parallel(files)]
    pairs, notes = [], []
    for one in found:
        bad = [(one.pairs[0].path if one.pairs else str(files[0]), line, reason) for line, reason in one.problems]
        pairs += one.pairs
        notes += [*one.notes, *row_notes(bad, len(one.pairs) + len(bad))]
    if not pairs:
        raise DataError(f"{', '.join(map(str, files))}: there is no pair in it; expected at least one.")
    grouped = _grouped(pairs)
    return Pairs(grouped, (*dict.fromkeys(notes), *_oddities(pairs)))


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(JSON_SUFFIXES)


def _is_table(path: Path) -> bool:
    return _is_json(path) or path.name.removesuffix(".gz").endswith(TABLE_SUFFIXES)


def _grouped(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Put neighbours with one source together."""
    groups = (list(group) for _, group in groupby(pairs, key=lambda one: one.source))
    return tuple(
        replace(group[0], targets=tuple(dict.fromkeys(target for one in group for target in one.targets)))
        for group in groups
    )


def _oddities(pairs: Sequence[Pair]) -> list[str]:
    """Count pairs that occur again, and those with the same text on both sides."""
    flat = [(pair.source, target) for pair in pairs for target in pair.targets]
    again, same = len(flat) - len(set(flat)), sum(source == target for source, target in flat)
    notes = [f"{again:,} of {len(flat):,} pairs occur again"] if again else []
    return notes + ([f"{same:,} of {len(flat):,} pairs have the same text on both sides"] if same else [])


def _pair(sides: Sequence[str], path: str, line: int) -> Pair | str:
    """Return a pair of the first side with the others that are there, or what it lacks."""
    source, *targets = (side.strip() for side in sides)
    there = tuple(target for target in targets if target)
    if not source:
        return "the source is empty"
    return Pair(source, there, path, line) if there else "the translation is empty"


def _sorted(rows: Iterator[tuple[int, Sequence[str]]], path: str, notes: list[str]) -> _File:
    pairs, problems = [], []
    for line, sides in rows:
        made = _pair(sides, path, line)
        if isinstance(made, Pair):
            pairs.append(made)
        else:
            problems.append((line, made))
    return _File(pairs, problems, notes)


def _read_parallel(files: Sequence[Path]) -> _File:
    if len(files) < 2:
        raise DataError(
            f"{files[0]}: one plain file is given; expected a table (.tsv, .csv, .jsonl), or a file of sources and one "
            "of their translations."
        )
    corpora = [read_text([path]) for path in files]
    sides = [corpus.documents[0].text.split("\n") for corpus in corpora]
    sides = [lines[:-1] if lines and not lines[-1] else lines for lines in sides]
    for path, lines in zip(files[1:], sides[1:], strict=True):
        if len(lines) != len(sides[0]):
            raise DataError(
                f"{files[0]} has {len(sides[0]):,} lines and {path} has {len(lines):,}; expected as many: each line is "
                "the translation of the same line."
            )
    rows = ((line, cells) for line, cells in enumerate(zip(*sides, strict=True), start=1))
    return _sorted(rows, str(files[0]), [note for corpus in corpora for note in corpus.notes()])


def _read_table(path: Path, columns: PairColumns) -> _File:
    names = [name.lower() for name in (columns.source, columns.target) if name is not None]
    table = read_table(
        path, delimiter=columns.delimiter, header=columns.header, names=(*SOURCE_NAMES, *TARGET_NAMES, *names)
    )
    source = _column(table, columns.source, SOURCE_NAMES, option="source_column", free=0)
    target = _column(table, columns.target, TARGET_NAMES, option="target_column", free=1 if source == 0 else 0)
    if source == target:
        raise ConfigError(f"source_column and target_column are both {table.name(source)}; expected two columns")
    rows = ((row.line, (row.cells[source], row.cells[target])) for row in table.rows)
    note = f"{path}: {table.shape}; from column {table.name(source)} to column {table.name(target)}"
    found = _sorted(rows, str(path), [*table.notes, note])
    wide = [(row.line, f"{len(row.cells)} cells, not {table.width}") for row in table.bad]
    return replace(found, problems=sorted([*found.problems, *wide]))


def _column(table: Table, wanted: str | None, usual: Sequence[str], *, option: str, free: int) -> int:
    if wanted is not None:
        return table.find(wanted, option=option)
    headings = [heading.lower() for heading in table.headings or ()]
    found = next((headings.index(name) for name in usual if name in headings), free)
    if found >= table.width:
        raise DataError(
            f"{table.path}: there is one column; expected a text and its translation. Name the --delimiter."
        )
    return found


def _read_json(path: Path, columns: PairColumns) -> _File:
    corpus = read_text([path])
    objects = [(line, _inner(one)) for line, one in json_lines(corpus.documents[0].text, path)]
    keys = list(dict.fromkeys(key for _, one in objects for key in one))
    source = _key(columns.source, SOURCE_NAMES, keys, path, option="source_column")
    others = [key for key in keys if key != source]
    target = _key(columns.target, TARGET_NAMES, others, path, option="target_column")
    rows = ((line, [_text(one.get(source)), *_texts(one.get(target))]) for line, one in objects)
    return _sorted(rows, str(path), [*corpus.notes(), f"{path}: JSON lines; from {source!r} to {target!r}"])


def _inner(one: dict[str, Any]) -> dict[str, Any]:
    """Take {"translation": {"en": ..., "de": ...}} as the object inside."""
    inside = one.get("translation")
    return inside if isinstance(inside, dict) else one


def _key(wanted: str | None, usual: Sequence[str], keys: Sequence[str], path: Path, *, option: str) -> str:
    if wanted is not None:
        if wanted not in keys:
            raise ConfigError(f"{option} is {wanted!r}, which {path} does not have; expected one of {', '.join(keys)}")
        return wanted
    if not keys:
        raise DataError(f"{path}: its objects have one key; expected a text and its translation.")
    return next((name for name in usual if name in keys), keys[0])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
