"""Texts with labels, from the files people keep them in: tables, JSON lines, fastText, a folder a label."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnnkit.data.readers import read_text
from rnnkit.data.tables import Table, read_table, row_notes
from rnnkit.errors import ConfigError, DataError

FASTTEXT_PREFIX = "__label__"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
TEXT_SUFFIXES = (".txt", ".md")
TEXT_NAMES = ("text", "sentence", "review", "content", "document", "body", "tweet", "message", "comment", "utterance")
LABEL_NAMES = ("label", "labels", "sentiment", "class", "category", "categories", "target", "intent", "polarity")
LABEL_NAMES += ("rating", "stars", "topic", "tag", "tags", "y")
MOST_LABEL_SHARE = 0.5  # a column with more distinct cells than this share of the rows is no label


@dataclass(frozen=True)
class LabelledText:
    """A text, its labels (one, unless the task is multi-label), and where it stands."""

    text: str
    labels: tuple[str, ...]
    source: str
    line: int

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True)
class LabelledTexts:
    """Examples in reading order; what a person should know of the reading; the rows left out, as (line, reason)."""

    examples: tuple[LabelledText, ...]
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True)
class Columns:
    """How to find text and label in a file; what is None is found out."""

    text: str | None = None
    label: str | None = None
    delimiter: str | None = None
    header: Literal["auto", "present", "absent"] = "auto"
    label_separator: str | None = None
    """Between the labels of a cell; None makes the cell one label."""


@dataclass(frozen=True)
class _File:
    """What one file gave: (line, text, labels) of each row, and problems as (line, reason)."""

    rows: list[tuple[int, str, tuple[str, ...]]]
    problems: list[tuple[int, str]]
    notes: list[str]


def read_labelled_texts(paths: Sequence[str | Path], columns: Columns = Columns()) -> LabelledTexts:
    """Read texts with labels.

    Args:
        paths: Files: CSV, TSV, JSON lines (an object a line), fastText (`__label__x text`); or folders that hold a
            folder of .txt files for each label. Any file may be gzipped.
        columns: Where text and label stand.

    Returns:
        The examples, and notes. A row that cannot be used is left out and named in a note.

    Raises:
        ConfigError: If a column is not there.
        DataError: If a file cannot be used, naming it and the line.
    """
    return _read(paths, columns, labelled=True)


def read_unlabelled_texts(paths: Sequence[str | Path], columns: Columns = Columns()) -> LabelledTexts:
    """Read texts alone, from the same kinds of file, or one a line from any other.

    Args:
        paths: Files or folders.
        columns: Where the text stands.

    Returns:
        The texts, with labels where there are some.

    Raises:
        ConfigError: If a column is not there.
        DataError: If a file cannot be used, naming it and the line.
    """
    return _read(paths, columns, labelled=False)


def _read(paths: Sequence[str | Path], columns: Columns, *, labelled: bool) -> LabelledTexts:
    examples: list[LabelledText] = []
    notes: list[str] = []
    bad: list[tuple[str, int, str]] = []
    for path in map(Path, paths):
        good, wrong = len(examples), len(bad)
        for file, read in _readers(path, columns, labelled=labelled):
            found = read(file)
            notes += found.notes
            bad += [(str(file), line, reason) for line, reason in found.problems]
            examples += [LabelledText(text, labels, str(file), line) for line, text, labels in found.rows]
        notes += row_notes(bad[wrong:], len(examples) - good + len(bad) - wrong)
    if not examples:
        raise DataError(f"{', '.join(map(str, paths))}: there is no text in it; expected at least one.")
    return LabelledTexts(tuple(examples), tuple(dict.fromkeys(notes)), tuple(bad))


def _readers(path: Path, columns: Columns, *, labelled: bool) -> Iterator[tuple[Path, Callable[[Path], _File]]]:
    """Give each file of a path with the function that reads it."""
    if path.is_dir():
        yield from _folder(path, labelled=labelled)
        return
    name = path.name.removesuffix(".gz")
    if name.endswith(JSON_SUFFIXES):
        yield path, lambda file: _read_json(file, columns, labelled=labelled)
    elif _is_fasttext(path):
        yield path, _read_fasttext
    elif not labelled and name.endswith(TEXT_SUFFIXES):
        yield path, _read_lines
    else:
        yield path, lambda file: _read_table(file, columns, labelled=labelled)


def _folder(folder: Path, *, labelled: bool) -> Iterator[tuple[Path, Callable[[Path], _File]]]:
    """Take the folders below as labels, the .txt files in them as texts."""
    found = 0
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in label.rglob("*") if path.name.removesuffix(".gz").endswith(TEXT_SUFFIXES))
        for file in files:
            found += 1
            yield file, _whole_file((label.name,))
    if not labelled:
        for file in sorted(path for path in folder.iterdir() if path.name.removesuffix(".gz").endswith(TEXT_SUFFIXES)):
            found += 1
            yield file, _whole_file(())
    if not found:
        raise DataError(f"{folder}: the folder holds no LABEL/*.txt; expected a folder of text files for each label.")


def _whole_file(labels: tuple[str, ...]) -> Callable[[Path], _File]:
    def read(file: Path) -> _File:
        corpus = read_text([file])
        return _File([(1, corpus.documents[0].text, labels)], [], corpus.notes())

    return read


def _read_lines(path: Path) -> _File:
    corpus = read_text([path])
    lines = corpus.documents[0].text.split("\n")
    rows = [(number, line, ()) for number, line in enumerate(lines, start=1) if line.strip()]
    return _File(rows, [], corpus.notes())


def _is_fasttext(path: Path) -> bool:
    corpus = read_text([path])
    return next(iter(corpus.documents[0].blocks()), "").lstrip().startswith(FASTTEXT_PREFIX)


def _read_fasttext(path: Path) -> _File:
    corpus = read_text([path])
    rows: list[tuple[int, str, tuple[str, ...]]] = []
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(corpus.documents[0].text.split("\n"), start=1):
        words = line.split()
        labels = tuple(word.removeprefix(FASTTEXT_PREFIX) for word in words if word.startswith(FASTTEXT_PREFIX))
        text = " ".join(word for word in words if not word.startswith(FASTTEXT_PREFIX))
        if labels and text:
            rows.append((number, text, labels))
        elif words:
            problems.append((number, f"no {'text' if labels else FASTTEXT_PREFIX}"))
    return _File(rows, problems, [*corpus.notes(), f"{path}: fastText, {FASTTEXT_PREFIX} before each label"])


# Tables


def _read_table(path: Path, columns: Columns, *, labelled: bool) -> _File:
    names = [name.lower() for name in (columns.text, columns.label) if name is not None]
    known = (*TEXT_NAMES, *LABEL_NAMES, *names)
    table = read_table(path, delimiter=columns.delimiter, header=columns.header, names=known)
    label = _label_column(table, columns, needed=labelled)
    text = _text_column(table, columns, label)
    rows: list[tuple[int, str, tuple[str, ...]]] = []
    problems = [(row.line, f"{len(row.cells)} cells, not {table.width}") for row in table.bad]
    for row in table.rows:
        labels = () if label is None else _split_labels(row.cells[label], columns.label_separator)
        if not row.cells[text].strip():
            problems.append((row.line, "the text is empty"))
        elif labelled and not labels and columns.label_separator is None:
            problems.append((row.line, "the label is empty"))
        else:
            rows.append((row.line, row.cells[text], labels))
    named = "" if label is None else f", label from column {table.name(label)}"
    note = f"{path}: {table.shape}; text from column {table.name(text)}{named}"
    return _File(rows, sorted(problems), [*table.notes, note])


def _split_labels(cell: str, separator: str | None) -> tuple[str, ...]:
    parts = [cell] if separator is None else cell.split(separator)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _label_column(table: Table, columns: Columns, *, needed: bool) -> int | None:
    """Take the column that was named, or has a usual name, or holds few distinct values."""
    if columns.label is not None and (needed or _has(table, columns.label)):
        return table.find(columns.label, option="label_column")
    if (usual := _usual(table, LABEL_NAMES)) is not None:
        return usual
    taken = None if columns.text is None else table.find(columns.text, option="text_column")
    free = [index for index in range(table.width) if index not in (taken, _usual(table, TEXT_NAMES))]
    values = {index: set(table.column(index)) for index in free}
    few = [index for index in free if 2 <= len(values[index]) <= max(2, MOST_LABEL_SHARE * len(table.rows))]
    if few:
        return min(few, key=lambda index: (len(values[index]), index))
    if needed and table.width > 1 and len(free) == 1:
        return free[0]
    if needed:
        raise DataError(
            f"{table.path}: no column looks like a label ({table.shape}, {table.width} columns); "
            "name it with --label-column, and the text's with --text-column."
        )
    return None


def _has(table: Table, name: str) -> bool:
    return name.lower() in [heading.lower() for heading in table.headings or ()]


def _text_column(table: Table, columns: Columns, label: int | None) -> int:
    """Take the column that was named, or has a usual name, or holds the longest cells."""
    if columns.text is not None:
        chosen = table.find(columns.text, option="text_column")
    elif (usual := _usual(table, TEXT_NAMES)) is not None and usual != label:
        chosen = usual
    else:
        free = [index for index in range(table.width) if index != label]
        if not free:
            raise DataError(f"{table.path}: there is one column; expected a text and a label. Name the --delimiter.")
        chosen = max(free, key=lambda index: sum(map(len, table.column(index))))
    if chosen == label:
        raise ConfigError(f"text_column and label_column are both {table.name(chosen)}; expected two columns")
    return chosen


def _usual(table: Table, names: Sequence[str]) -> int | None:
    headings = [heading.lower() for heading in table.headings or ()]
    return next((headings.index(name) for name in names if name in headings), None)


# JSON lines


def _read_json(path: Path, columns: Columns, *, labelled: bool) -> _File:
    corpus = read_text([path])
    objects = list(json_lines(corpus.documents[0].text, path))
    if not objects:
        raise DataError(f"{path}: there is no JSON object; expected one a line.")
    keys = Counter(key for _, one in objects for key in one)
    text = _key(columns.text, TEXT_NAMES, keys, path, option="text_column")
    wanted = columns.label if columns.label is None or labelled or columns.label in keys else None
    known = wanted is not None or any(name in keys for name in LABEL_NAMES)
    label = _key(wanted, LABEL_NAMES, keys, path, option="label_column") if labelled or known else None
    rows: list[tuple[int, str, tuple[str, ...]]] = []
    problems: list[tuple[int, str]] = []
    for line, one in objects:
        value = one.get(text)
        labels = None if label is None else _json_labels(one.get(label), columns.label_separator)
        if not isinstance(value, str) or not value.strip():
            problems.append((line, f"{text} is {json.dumps(value)[:40]}, no text"))
        elif labelled and labels is None:
            problems.append((line, f"{label} is {json.dumps(one.get(str(label)))[:40]}, no label"))
        else:
            rows.append((line, value, labels or ()))
    named = "" if label is None else f", label from {label!r}"
    return _File(rows, problems, [*corpus.notes(), f"{path}: JSON lines; text from {text!r}{named}"])


def json_lines(text: str, path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Parse a text of JSON objects, one a line.

    Args:
        text: The text.
        path: Its file, for messages.

    Yields:
        Line number from 1, and the object.

    Raises:
        DataError: If a line is no JSON object, naming it.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: this is no JSON ({error}); expected an object a line: {line[:60]}"
            ) from None
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: this is {line[:60]}; expected a JSON object a line, as {{...}}.")
        yield number, value


def _key(wanted: str | None, usual: Sequence[str], keys: Counter[str], path: Path, *, option: str) -> str:
    if wanted is not None:
        if wanted not in keys:
            raise ConfigError(f"{option} is {wanted!r}, which {path} does not have; expected one of {', '.join(keys)}")
        return wanted
    found = next((name for name in usual if name in keys), None)
    if found is None:
        flag = "--" + option.replace("_", "-")
        raise DataError(f"{path}: none of the keys {', '.join(keys)} is a usual name; name one with {flag}.")
    return found


def _json_labels(value: Any, separator: str | None) -> tuple[str, ...] | None:
    """Return the labels a JSON value names; None where it names none."""
    if isinstance(value, list):
        return tuple(dict.fromkeys(_label_name(part) for part in value))
    if value is None or isinstance(value, dict) or value == "":
        return None
    return _split_labels(value, separator) if isinstance(value, str) else (_label_name(value),)


def _label_name(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value)
