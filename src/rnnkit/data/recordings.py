"""Recordings with what is said in them, from the lists and folders people keep them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rnnkit.data.audio import AUDIO_SUFFIXES, AudioFacts, audio_facts, is_audio, read_audio
from rnnkit.data.examples import JSON_SUFFIXES, json_lines
from rnnkit.data.readers import read_text
from rnnkit.data.tables import read_table, row_notes
from rnnkit.errors import ConfigError, DataError

PATH_NAMES = ("path", "paths", "audio", "audio_filepath", "audio_path", "file", "file_name", "filename", "wav", "clip")
TEXT_NAMES = ("text", "transcript", "transcription", "sentence", "label", "words")
LIST_SUFFIX = ".trans.txt"  # of a file with a name and a text a line, beside the recordings (LibriSpeech)
MOST_NAMED = 3


@dataclass(frozen=True)
class Recording:
    """One recording, or several that are joined, and what is said in it.

    Attributes:
        paths: Of its files, in order.
        text: What is said.
        facts: Of each file.
        source: The list or file it is named by.
        line: Of the list.
    """

    paths: tuple[Path, ...]
    text: str
    facts: tuple[AudioFacts, ...]
    source: str
    line: int

    @property
    def place(self) -> str:
        """file:line."""
        return f"{self.source}:{self.line}"

    @property
    def seconds(self) -> float:
        """How long it is."""
        return sum(one.seconds for one in self.facts)

    def samples(self, sample_rate: int) -> np.ndarray:
        """Read it at a sample rate.

        Args:
            sample_rate: Samples a second.

        Returns:
            (samples,) float32 in [-1, 1].

        Raises:
            DataError: If a file cannot be read, naming it and the line.
        """
        try:
            return np.concatenate([read_audio(path, sample_rate) for path in self.paths])
        except DataError as error:
            raise DataError(f"{self.place}: {error} Or leave the line out.") from None


@dataclass(frozen=True)
class Recordings:
    """Recordings in reading order, what a person should know of the reading, and the rows left out."""

    examples: tuple[Recording, ...]
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    def sample_rate(self, *, most: int) -> int:
        """Return the sample rate of most of the sound, `most` at the highest."""
        seconds: Counter[int] = Counter()
        for one in self.examples:
            for facts in one.facts:
                seconds[facts.sample_rate] += facts.samples / facts.sample_rate  # type: ignore[assignment]
        return min(seconds.most_common(1)[0][0], most)


@dataclass(frozen=True)
class RecordingColumns:
    """How to find recordings and texts in a list; what is None is found out."""

    path: str | None = None
    text: str | None = None
    delimiter: str | None = None
    header: Literal["auto", "present", "absent"] = "auto"


Row = tuple[int, tuple[Path, ...], str | None]
"""Line, files and text."""


def read_recordings(
    paths: Sequence[str | Path],
    columns: RecordingColumns = RecordingColumns(),
    *,
    spoken: bool = True,
) -> Recordings:
    """Read lists of recordings and their texts; the sound itself is read when it is used.

    Args:
        paths: Tables (.tsv, .csv) and JSON lines with a path, or several to be joined, and a text; folders in which a
            text lies beside each recording (a.wav and a.txt, or lists NAME.trans.txt of the recordings' names with
            their texts); or recordings. Paths in a list begin where the list lies.
        columns: Where they stand.
        spoken: Whether a recording without a text is of no use.

    Returns:
        The recordings. A row that cannot be used is left out and named in a note.

    Raises:
        ConfigError: If a column is not there, or the package for audio is missing.
        DataError: If a list cannot be used, naming it and the line, or too many of its rows cannot.
    """
    examples: list[Recording] = []
    notes: list[str] = []
    bad: list[tuple[str, int, str]] = []
    for given in map(Path, paths):
        good, wrong = len(examples), len(bad)
        for source, row in _rows(given, columns, notes, bad):
            line, files, text = row
            reason = "there is no text" if spoken and not text else None if files else "no recording is named"
            facts: tuple[AudioFacts, ...] = ()
            if reason is None:
                try:
                    facts = tuple(audio_facts(file) for file in files)
                except DataError as error:
                    if files == (given,):  # it was named by itself, in no list
                        raise
                    reason = str(error).rstrip(".")
            if reason is None:
                examples.append(Recording(files, text or "", facts, source, line))
            else:
                bad.append((source, line, reason))
        notes += row_notes(bad[wrong:], len(examples) - good + len(bad) - wrong)
    if not examples:
        raise DataError(f"{', '.join(map(str, paths))}: there is no recording in it; expected at least one.")
    return Recordings(tuple(examples), (*dict.fromkeys(notes), *_sounds(examples)), tuple(bad))


def _rows(
    path: Path, columns: RecordingColumns, notes: list[str], bad: list[tuple[str, int, str]]
) -> Iterator[tuple[str, Row]]:
    """Give the rows of a path, each with the file that names it; add to notes and to bad rows."""
    if path.is_dir():
        yield from _folder(path)
    elif is_audio(path.name):
        yield str(path), (1, (path,), _text_beside(path))
    elif path.name.removesuffix(".gz").endswith(JSON_SUFFIXES):
        yield from ((str(path), row) for row in _json(path, columns, notes))
    else:
        yield from ((str(path), row) for row in _table(path, columns, notes, bad))


def _folder(folder: Path) -> Iterator[tuple[str, Row]]:
    files = sorted(file for file in folder.rglob("*") if is_audio(file.name) and file.is_file())
    if not files:
        raise DataError(
            f"{folder}: the folder holds no recording ({', '.join('*' + suffix for suffix in AUDIO_SUFFIXES)})."
        )
    listed: dict[Path, str] = {}
    for file in sorted(folder.rglob(f"*{LIST_SUFFIX}")):
        for line in read_text([file]).documents[0].text.split("\n"):
            name, _, text = line.strip().partition(" ")
            listed[file.parent / name] = text.strip()
    for file in files:
        yield str(file), (1, (file,), listed.get(file.with_suffix("")) or _text_beside(file))


def _text_beside(file: Path) -> str | None:
    beside = file.with_suffix(".txt")
    return " ".join(read_text([beside]).documents[0].text.split()) if beside.is_file() else None


def _table(path: Path, columns: RecordingColumns, notes: list[str], bad: list[tuple[str, int, str]]) -> Iterator[Row]:
    named = [name.lower() for name in (columns.path, columns.text) if name is not None]
    table = read_table(
        path, delimiter=columns.delimiter, header=columns.header, names=(*PATH_NAMES, *TEXT_NAMES, *named)
    )
    sounds = [index for index, cell in enumerate(table.rows[0].cells) if is_audio(cell.strip())]
    sound = None if columns.path is None else table.find(columns.path, option="path_column")
    sound = sound if sound is not None else next(iter(sounds), None)
    if sound is None:
        raise DataError(
            f"{path}:{table.rows[0].line}: no cell names a recording ({', '.join(AUDIO_SUFFIXES)}); expected a column "
            "of paths, or its name as --path-column."
        )
    text = _text_column(table.headings, table.width, sound) if columns.text is None else None
    text = table.find(columns.text, option="text_column") if columns.text is not None else text
    bad += [(str(path), row.line, f"{len(row.cells)} cells, not {table.width}") for row in table.bad]
    said = "" if text is None else f", texts in column {table.name(text)}"
    notes += [*table.notes, f"{path}: {table.shape}; recordings in column {table.name(sound)}{said}"]
    for row in table.rows:
        yield row.line, _files(row.cells[sound], path.parent), None if text is None else _tidy(row.cells[text])


def _text_column(headings: Sequence[str] | None, width: int, sound: int) -> int | None:
    known = [heading.strip().lower() for heading in headings or ()]
    found = next((known.index(name) for name in TEXT_NAMES if name in known), None)
    others = [index for index in range(width) if index != sound]
    return found if found is not None else next(iter(others), None)


def _json(path: Path, columns: RecordingColumns, notes: list[str]) -> Iterator[Row]:
    corpus = read_text([path])
    objects = list(json_lines(corpus.documents[0].text, path))
    keys = list(dict.fromkeys(key for _, one in objects for key in one))
    sound = _key(columns.path, PATH_NAMES, keys, path, option="path_column")
    text = _key(columns.text, TEXT_NAMES, keys, path, option="text_column")
    if sound is None:
        raise DataError(f"{path}: none of the keys {', '.join(keys)} is a usual one of recordings; name --path-column.")
    said = "" if text is None else f", texts in {text!r}"
    notes += [*corpus.notes(), f"{path}: JSON lines; recordings in {sound!r}{said}"]
    for line, one in objects:
        value = one.get(sound)
        files = tuple(path.parent / str(each) for each in value) if isinstance(value, list) else None
        spoken = one.get(text or "")
        yield line, files or _files(_string(value), path.parent), _tidy(_string(spoken)) or None


def _key(wanted: str | None, usual: Sequence[str], keys: Sequence[str], path: Path, *, option: str) -> str | None:
    if wanted is not None and wanted not in keys:
        raise ConfigError(f"{option} is {wanted!r}, which {path} does not have; expected one of {', '.join(keys)}")
    return wanted or next((name for name in usual if name in keys), None)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _files(cell: str, folder: Path) -> tuple[Path, ...]:
    """Take a cell as one file if there is such a one, else as several with spaces between."""
    whole = folder / cell.strip()
    if not cell.strip() or whole.is_file():
        return (whole,) if cell.strip() else ()
    parts = cell.split()
    return tuple(folder / part for part in parts) if all(map(is_audio, parts)) else (whole,)


def _sounds(examples: Sequence[Recording]) -> list[str]:
    """Say how much sound there is, of what sample rates and numbers of channels."""
    facts = [one for example in examples for one in example.facts]
    kinds = Counter((one.sample_rate, one.channels) for one in facts)
    words = [
        f"{count:,} with {rate:,} samples a second{'' if channels == 1 else f' and {channels} channels'}"
        for (rate, channels), count in kinds.most_common(MOST_NAMED)
    ]
    minutes = sum(one.seconds for one in examples) / 60
    files = "files" if len(kinds) > 1 else "all files"
    told = ", ".join(words) if len(kinds) > 1 else words[0].split(" with ", 1)[1]
    return [f"{len(examples):,} recordings, {minutes:.1f} minutes; {files} {'with ' if len(kinds) == 1 else ''}{told}"]
