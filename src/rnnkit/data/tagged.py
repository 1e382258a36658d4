"""Sentences with a tag a word, from the files people keep them in: CoNLL columns, CoNLL-U, JSON lines with spans."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rnnkit.data.examples import JSON_SUFFIXES, TEXT_NAMES, TEXT_SUFFIXES, json_lines
from rnnkit.data.readers import read_text
from rnnkit.data.schemes import Span, write_tags
from rnnkit.data.tables import row_notes
from rnnkit.data.words import WordRules
from rnnkit.errors import ConfigError, DataError

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLLU_NUMBER = re.compile(r"\d+")
CONLLU_EXTRA = re.compile(r"\d+[-.]\d+")  # a range of words written as one, an empty node
DOCUMENT_LINE = "-DOCSTART-"
SPAN_NAMES = ("spans", "entities", "label", "labels", "ner", "annotations")
TOKEN_NAMES = ("tokens", "words")
TAG_NAMES = ("tags", "ner_tags", "labels", "pos_tags", "pos", "ner")


@dataclass(frozen=True)
class TaggedSentence:
    """Words with their tags (none where there are none yet), and where they stand."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    source: str
    line: int

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.source}:{self.line}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct tags, in order."""
        return tuple(sorted(set(self.tags)))


@dataclass(frozen=True)
class TaggedSentences:
    """Examples in reading order; what a person should know of the reading; the parts left out, as (line, reason)."""

    examples: tuple[TaggedSentence, ...]
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True)
class TagColumns:
    """Where words and tags stand in a file; what is None is found out."""

    text: str | None = None
    """Number (from 1) of the words' column, or JSON key of the text."""
    label: str | None = None
    """Number (from 1) or CoNLL-U name of the tags' column, or JSON key of spans or tags."""


@dataclass
class _File:
    """What one file gave: (line, words, tags) of each sentence, and problems as (line, reason)."""

    rows: list[tuple[int, list[str], list[str]]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_tagged(paths: Sequence[str | Path], columns: TagColumns = TagColumns()) -> TaggedSentences:
    """Read sentences with tags.

    Args:
        paths: Files, or folders of them: columns (a word a line, an empty line between sentences), .conllu, or JSON
            lines with a text and spans, as {"text": "In Nagoya", "spans": [[3, 9, "LOC"]]}, or words and tags. Any
            file may be gzipped.
        columns: Where words and tags stand.

    Returns:
        The sentences, and notes. One that cannot be used is left out and named in a note.

    Raises:
        ConfigError: If a column is not there.
        DataError: If a file cannot be used, naming it and the line.
    """
    examples: list[TaggedSentence] = []
    notes: list[str] = []
    bad: list[tuple[str, int, str]] = []
    for path in _files(paths):
        found = _reader(path)(path, columns)
        wrong = [(str(path), line, reason) for line, reason in found.problems]
        notes += found.notes + row_notes(wrong, len(found.rows) + len(wrong))
        bad += wrong
        examples += [TaggedSentence(tuple(words), tuple(tags), str(path), line) for line, words, tags in found.rows]
    if not examples:
        raise DataError(f"{', '.join(map(str, paths))}: there is no sentence in it; expected at least one.")
    return TaggedSentences(tuple(examples), tuple(dict.fromkeys(notes)), tuple(bad))


def read_untagged(path: str | Path, columns: TagColumns = TagColumns()) -> list[str | tuple[str, ...]]:
    """Read what is to be tagged: of columns and JSON tokens the words, else texts, of plain files one a line.

    Args:
        path: A file.
        columns: Where the words or the text stand.

    Returns:
        Texts, or sentences of words.

    Raises:
        ConfigError: If a column is not there.
        DataError: If the file cannot be used, naming it and the line.
    """
    path = Path(path)
    name = path.name.removesuffix(".gz")
    if name.endswith(JSON_SUFFIXES):
        return [_json_input(line, one, path, columns) for line, one in json_lines(_text(path), path)]
    if name.endswith(TEXT_SUFFIXES):
        lines = [line for line in _text(path).split("\n") if line.strip()]
        if not lines:
            raise DataError(f"{path}: there is no text in it; expected at least one line.")
        return list(lines)
    return [one.words for one in read_tagged([path], columns).examples]


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
        if not found:
            raise DataError(f"{path}: the folder holds no file; name a file of tagged sentences.")
        yield from found


def _reader(path: Path) -> Callable[[Path, TagColumns], _File]:
    name = path.name.removesuffix(".gz")
    return _read_json if name.endswith(JSON_SUFFIXES) else _read_columns


def _text(path: Path) -> str:
    return read_text([path]).documents[0].text


# Columns


def _read_columns(path: Path, columns: TagColumns) -> _File:
    corpus = read_text([path])
    lines = corpus.documents[0].text.split("\n")
    split = _split_tabs if any("\t" in line and not line.startswith("#") for line in lines) else str.split
    width = _width(lines, split)
    if width < 2:
        where, line = next(((n, one) for n, one in enumerate(lines, start=1) if one.strip()), (1, ""))
        raise DataError(
            f"{path}:{where}: this is {line[:40]!r}; expected a word and its tag a line, with a tab or a space between."
        )
    conllu = width == len(CONLLU_COLUMNS) and path.name.removesuffix(".gz").endswith(".conllu")
    word, tag = _columns_of(columns, width, path, conllu=conllu)
    found = _File(notes=corpus.notes())
    for start, rows in _sentences(lines, split, width):
        _add_sentence(found, start, rows, (word, tag), width, conllu=conllu)
    kind = "CoNLL-U" if conllu else f"{width} columns"
    tag_name = CONLLU_COLUMNS[tag] if conllu else f"column {tag + 1}"
    found.notes.append(f"{path}: {kind}; words from column {word + 1}, tags from {tag_name}")
    return found


def _split_tabs(line: str) -> list[str]:
    return line.split("\t")


def _width(lines: Iterable[str], split: Callable[[str], list[str]]) -> int:
    """Return how many columns most lines have that are no comment."""
    widths = Counter(len(split(line)) for line in lines if line.strip() and not line.startswith("# "))
    return widths.most_common(1)[0][0] if widths else 0


def _columns_of(columns: TagColumns, width: int, path: Path, *, conllu: bool) -> tuple[int, int]:
    names = CONLLU_COLUMNS if conllu else ()
    chosen = []
    usual = (names.index("form"), names.index("upos")) if conllu else (0, width - 1)
    for option, value, default in (("text", columns.text, usual[0]), ("label", columns.label, usual[1])):
        if value is None:
            chosen.append(default)
        elif value.lower() in names:
            chosen.append(names.index(value.lower()))
        elif value.isdecimal() and 1 <= int(value) <= width:
            chosen.append(int(value) - 1)
        else:
            known = f"1 to {width}" + (f" or one of {', '.join(names)}" if names else "")
            raise ConfigError(f"{option}_column is {value!r}, and {path} has {width} columns; expected {known}")
    if chosen[0] == chosen[1]:
        raise ConfigError(f"text_column and label_column are both {chosen[0] + 1}; expected two columns")
    return chosen[0], chosen[1]


def _sentences(
    lines: Sequence[str], split: Callable[[str], list[str]], width: int
) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """Yield the first line of each sentence and its rows: lines that are neither empty nor comments."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*lines, ""], start=1):
        cells = split(line)
        comment = line.startswith("#") and len(cells) != width
        if line.strip() and not comment and not line.startswith(DOCUMENT_LINE):
            rows.append((number, cells))
        elif rows and not comment:
            yield rows[0][0], rows
            rows = []


def _add_sentence(
    found: _File,
    start: int,
    rows: Sequence[tuple[int, list[str]]],
    columns: tuple[int, int],
    width: int,
    *,
    conllu: bool,
) -> None:
    words: list[str] = []
    tags: list[str] = []
    for number, cells in rows:
        if len(cells) != width:
            found.problems.append((number, f"{len(cells)} columns, not {width}"))
            return
        if conllu and CONLLU_EXTRA.fullmatch(cells[0]):
            continue
        if conllu and not CONLLU_NUMBER.fullmatch(cells[0]):
            found.problems.append((number, f"the word's number is {cells[0][:20]!r}"))
            return
        word, tag = (cells[column].strip() for column in columns)
        if not word or not tag:
            found.problems.append((number, "the tag is empty" if word else "the word is empty"))
            return
        words.append(word)
        tags.append(tag)
    if words:
        found.rows.append((start, words, tags))


# JSON lines


def _read_json(path: Path, columns: TagColumns) -> _File:
    corpus = read_text([path])
    objects = list(json_lines(corpus.documents[0].text, path))
    if not objects:
        raise DataError(f"{path}: there is no JSON object; expected one a line.")
    keys = Counter(key for _, one in objects for key in one)
    found = _File(notes=corpus.notes())
    tokens = _find_key(keys, TOKEN_NAMES, columns.text)
    if tokens is not None and isinstance(objects[0][1].get(tokens), list):
        tags = _need_key(keys, TAG_NAMES, columns.label, path, option="label_column")
        for line, one in objects:
            _add_tokens(found, line, one.get(tokens), one.get(tags))
        found.notes.append(f"{path}: JSON lines; words from {tokens!r}, tags from {tags!r}")
        return found
    text = _need_key(keys, TEXT_NAMES, columns.text, path, option="text_column")
    spans = _need_key(keys, SPAN_NAMES, columns.label, path, option="label_column")
    for line, one in objects:
        _add_spans(found, line, one.get(text), one.get(spans))
    found.notes.append(f"{path}: JSON lines; text from {text!r}, spans from {spans!r}")
    return found


def _find_key(keys: Counter[str], usual: Sequence[str], wanted: str | None) -> str | None:
    if wanted is not None:
        return wanted if wanted in keys else None
    return next((name for name in usual if name in keys), None)


def _need_key(keys: Counter[str], usual: Sequence[str], wanted: str | None, path: Path, *, option: str) -> str:
    found = _find_key(keys, usual, wanted)
    if found is not None:
        return found
    if wanted is not None:
        raise ConfigError(f"{option} is {wanted!r}, which {path} does not have; expected one of {', '.join(keys)}")
    flag = "--" + option.replace("_", "-")
    raise DataError(f"{path}: none of the keys {', '.join(keys)} is a usual name; name one with {flag}.")


def _json_input(line: int, one: dict[str, Any], path: Path, columns: TagColumns) -> str | tuple[str, ...]:
    keys = Counter(one)
    tokens = _find_key(keys, TOKEN_NAMES, columns.text)
    if tokens is not None and isinstance(one[tokens], list):
        return tuple(map(str, one[tokens]))
    value = one[_need_key(keys, TEXT_NAMES, columns.text, path, option="text_column")]
    if not isinstance(value, str):
        raise DataError(f"{path}:{line}: the text is {json.dumps(value)[:40]}; expected a string.")
    return value


def _add_tokens(found: _File, line: int, words: Any, tags: Any) -> None:
    lists = isinstance(words, list) and isinstance(tags, list)
    if not lists or not all(isinstance(one, str) and one.strip() for one in (*words, *tags)):
        found.problems.append((line, "words or tags are no list of strings"))
    elif len(words) != len(tags):
        found.problems.append((line, f"{len(words)} words and {len(tags)} tags"))
    elif words:
        found.rows.append((line, words, tags))


def _add_spans(found: _File, line: int, text: Any, spans: Any) -> None:
    """Turn character spans into tags, line by line of the text."""
    if not isinstance(text, str) or not text.strip():
        found.problems.append((line, f"the text is {json.dumps(text)[:40]}"))
        return
    parsed = [_parse_span(one, len(text)) for one in spans] if isinstance(spans, list) else ["no list of spans"]
    reasons = [one for one in parsed if isinstance(one, str)]
    good = sorted((one for one in parsed if not isinstance(one, str)), key=lambda one: (one[0], one[1]))
    reasons += [
        f"the spans {before[:2]} and {after[:2]} overlap" for before, after in pairwise(good) if after[0] < before[1]
    ]
    reasons += [f"the span {one[:2]} crosses a line end" for one in good if "\n" in text[one[0] : one[1]].strip()]
    if reasons:
        found.problems.append((line, reasons[0]))
        return
    begin = 0
    for part in text.split("\n"):
        of_part = [
            (first - begin, end - begin, label) for first, end, label in good if begin <= first < begin + len(part)
        ]
        words, tags = tag_text(part, of_part)
        if words:
            found.rows.append((line, words, tags))
        begin += len(part) + 1


def _parse_span(value: Any, length: int) -> tuple[int, int, str] | str:
    """Return (first, end, label) of a span of characters, or what is wrong with it."""
    if isinstance(value, dict):
        label = next((value[name] for name in ("label", "type", "entity", "tag") if name in value), None)
        value = [value.get("start", value.get("start_offset")), value.get("end", value.get("end_offset")), label]
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[2], str) and value[2]):
        return f"{json.dumps(value)[:40]} is no [start, end, label]"
    first, end, label = value
    if not (isinstance(first, int) and isinstance(end, int) and 0 <= first < end <= length):
        return f"the span [{first}, {end}] does not lie in the text's {length} characters"
    return first, end, label


def tag_text(text: str, spans: Sequence[tuple[int, int, str]]) -> tuple[list[str], list[str]]:
    """Split a text into words and tag those of its spans; where a span cuts a word, the word is cut.

    Args:
        text: Of one line.
        spans: First character, end and label of each, in order, none over another.

    Returns:
        Words, and their tags of scheme bio.
    """
    cuts = sorted({place for first, end, _ in spans for place in (first, end)})
    words: list[tuple[int, int]] = []
    for start, end in WordRules().split(text):
        inner = [start, *(cut for cut in cuts if start < cut < end), end]
        words += pairwise(inner)
    found = []
    for first, end, label in spans:
        places = [index for index, (begin, _) in enumerate(words) if first <= begin < end]
        if places:  # a span of spaces has no word
            found.append(Span(label, places[0], places[-1] + 1))
    return [text[begin:end] for begin, end in words], write_tags(found, len(words), "bio")
