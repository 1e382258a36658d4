"""Documents of any length: short ones in memory, long ones as a place in a file, read block by block."""

import codecs
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self, overload

import numpy as np

from rnnkit.data.scratch import Spool
from rnnkit.data.tokens import WORD_START, last_match
from rnnkit.errors import ConfigError, DataError

BLOCK_BYTES = 2_000_000  # read at a time; a document up to this length is read whole
BLOCK_CHARACTERS = 2_000_000  # the same for a text in memory
ROWS = 10_000  # documents of a file whose places are looked up at a time
LINE_END_SEARCH = 0.10  # how far, as a share of the text, a split may move to reach a line end
VALID_CHARACTERS = 1_000_000  # validated on at most; the rest of a large text trains

ROW = np.dtype([(name, np.int64) for name in ("file", "line", "start", "end", "characters", "line_ends")])


@dataclass(frozen=True)
class Passage:
    """A part of a file of UTF-8 whose lines end in LF.

    Attributes:
        file: The file, or a copy of its text.
        start: Its first byte.
        end: The byte after its last.
        characters: Its length.
        line_ends: How many of them are line ends.
    """

    file: Path | Spool
    start: int
    end: int
    characters: int
    line_ends: int

    def pieces(self) -> Iterator[str]:
        """Yield the text, a block at a time.

        Raises:
            DataError: If the file is no longer what it was.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with _opened(self.file) as handle:
            for start in range(self.start, self.end, BLOCK_BYTES):
                yield decode(_read(handle, start, min(start + BLOCK_BYTES, self.end), self.file))

    def ending(self, characters: int) -> str:
        """Return the last `characters` characters, or all if there are fewer."""
        start = max(self.start, self.end - 4 * characters)  # 4 bytes are the longest character of UTF-8
        with _opened(self.file) as handle:
            text = _read(handle, start, self.end, self.file).decode(errors="ignore")
        return text[-characters:]


@dataclass(frozen=True)
class Document:
    """One text, the file it comes from, and the line of that file on which it starts (from 1).

    Attributes:
        content: The text, or where it is.
        source: Name of the file.
        first_line: Its line there.
    """

    content: str | Passage
    source: str
    first_line: int = 1

    @property
    def text(self) -> str:
        """The whole text: not for long ones."""
        return self.content if isinstance(self.content, str) else "".join(self.content.pieces())

    @property
    def characters(self) -> int:
        """Its length."""
        return len(self.content) if isinstance(self.content, str) else self.content.characters

    def blocks(self) -> Iterator[str]:
        """Yield the text in blocks of about BLOCK_CHARACTERS, which end where a word does."""
        pieces = _slices(self.content) if isinstance(self.content, str) else self.content.pieces()
        return cut_blocks(pieces, lambda text: last_match(WORD_START, text))

    def split(self, characters: int, *, search: int) -> tuple["Document", "Document"]:
        """Cut the end off.

        Args:
            characters: Length of the end, at least 1 and less than the whole.
            search: How many characters more the end may have to begin a line.

        Returns:
            The beginning and the end.
        """
        content = self.content
        wanted = min(characters + search, self.characters)
        tail = content[-wanted:] if isinstance(content, str) else content.ending(wanted)
        point = len(tail) - characters
        line_end = tail.rfind("\n", max(0, point - search), point)
        tail = tail[line_end + 1 :] if line_end >= 0 else tail[point:]
        if isinstance(content, str):
            head = content[: -len(tail)]
            line_ends = head.count("\n")
        else:
            place, line_ends = content.end - len(tail.encode()), content.line_ends - tail.count("\n")
            size = content.characters - len(tail)
            head = replace(content, end=place, characters=size, line_ends=line_ends)
            tail = replace(content, start=place, characters=len(tail), line_ends=tail.count("\n"))
        return replace(self, content=head), Document(tail, self.source, self.first_line + line_ends)


class FileDocuments(Sequence[Document]):
    """The documents of some files in 48 bytes each. Going through them reads the short ones; an index only finds one.

    Args:
        files: Each with the name to give for it.
        rows: (documents,) of type ROW: the place of each, `file` being an index of `files`.
    """

    def __init__(self, files: Sequence[tuple[Path | Spool, str]], rows: np.ndarray) -> None:
        self.files = files
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Document | Self:
        if isinstance(index, slice):
            return type(self)(self.files, self.rows[index])
        number, line, *place = self.rows[index].item()
        file, source = self.files[number]
        return Document(Passage(file, *place), source, line)

    def __iter__(self) -> Iterator[Document]:
        changes = np.flatnonzero(np.diff(self.rows["file"])) + 1
        for rows in np.split(self.rows, changes) if len(self) else ():
            file, source = self.files[rows["file"][0]]
            with _opened(file) as handle:
                for first in range(0, len(rows), ROWS):
                    for _, line, start, end, *size in rows[first : first + ROWS].tolist():
                        if end - start > BLOCK_BYTES:
                            yield Document(Passage(file, start, end, *size), source, line)
                        else:
                            yield Document(_read(handle, start, end, file).decode(errors="replace"), source, line)

    def divide(self, index: int, head: Document, tail: Document) -> tuple[Self, Self]:
        """Return the documents before `index` with `head` behind them, and `tail` with those after `index`."""
        before, after = self.rows[: index + 1].copy(), self.rows[index:].copy()
        number = before["file"][-1]
        before[-1], after[0] = _row(number, head), _row(number, tail)
        return type(self)(self.files, before), type(self)(self.files, after)


def _row(number: int, document: Document) -> tuple[int, ...]:
    place = document.content
    assert isinstance(place, Passage)
    return number, document.first_line, place.start, place.end, place.characters, place.line_ends


@dataclass(frozen=True)
class Blocks:
    """The text of some documents block by block, as often as it is asked for."""

    documents: Iterable[Document]

    def __iter__(self) -> Iterator[str]:
        """Go through all blocks of all documents."""
        for document in self.documents:
            yield from document.blocks()


def cut_blocks(texts: Iterable[str], safe_cut: Callable[[str], int]) -> Iterator[str]:
    """Cut a text that comes in pieces where it may be cut.

    Args:
        texts: Its pieces.
        safe_cut: Says after how many characters of a text it may be cut last; 0 if nowhere.

    Yields:
        The text in other pieces; a stretch of BLOCK_CHARACTERS or more that may be cut nowhere is cut all the same.
    """
    held = ""
    for text in texts:
        if held:  # and more follows
            cut = safe_cut(held) or (len(held) if len(held) >= BLOCK_CHARACTERS else 0)
            if cut:
                yield held[:cut]
            held = held[cut:]
        held += text
    if held:
        yield held


def count_characters(documents: Sequence[Document]) -> int:
    """Return the length of all documents together."""
    if isinstance(documents, FileDocuments):
        return int(documents.rows["characters"].sum())
    return sum(document.characters for document in documents)


def split_by_position(
    documents: Sequence[Document], *, valid_share: float
) -> tuple[Sequence[Document], Sequence[Document]]:
    """Keep the end of a corpus for validation, at most VALID_CHARACTERS and the rest of a line.

    Several documents: the last ones, whole, until they make up the share. A single document, and one that would make
    the end too long, is cut: at the last line end before the point, if one is near (10 % of the text), else at the
    character.

    Args:
        documents: In reading order.
        valid_share: Share of the characters to validate on, in (0, 1).

    Returns:
        The training and the validation documents, neither empty.

    Raises:
        ConfigError: If `valid_share` is not in (0, 1).
        DataError: If the text is too short for two parts.
    """
    if not 0 < valid_share < 1:
        raise ConfigError(f"valid_share is {valid_share}; expected a share between 0 and 1, as 0.1.")
    if not documents:
        raise DataError("there is no document to split; expected at least one with 2 characters.")
    characters = count_characters(documents)
    if characters < 2:
        raise DataError(
            f"{documents[0].source}: {characters} characters are too short to cut a validation part from; "
            "expected 2 or more. Use a longer text, or name a file for validation."
        )
    wanted = min(characters - round(characters * (1 - valid_share)), VALID_CHARACTERS)
    first = len(documents) - 1
    found = documents[first].characters
    while found < wanted and first > 1:
        first -= 1
        found += documents[first].characters
    if len(documents) > 1 and found <= VALID_CHARACTERS:
        return documents[:first], documents[first:]
    return _cut(documents, first, wanted - (found - documents[first].characters))


def _cut(documents: Sequence[Document], index: int, wanted: int) -> tuple[Sequence[Document], Sequence[Document]]:
    document = documents[index]
    search = min(int(LINE_END_SEARCH * document.characters), VALID_CHARACTERS)
    head, tail = document.split(min(max(wanted, 1), document.characters - 1), search=search)
    if isinstance(documents, FileDocuments):
        return documents.divide(index, head, tail)
    return (*documents[:index], head), (tail, *documents[index + 1 :])


def _slices(text: str) -> Iterator[str]:
    return (text[start : start + BLOCK_CHARACTERS] for start in range(0, len(text), BLOCK_CHARACTERS))


def _opened(file: Path | Spool) -> BinaryIO:
    try:
        return file.open() if isinstance(file, Spool) else file.open("rb")
    except OSError as error:
        raise DataError(f"{file}: the file cannot be read any more ({error.strerror}); leave it in place.") from error


def _read(handle: BinaryIO, start: int, end: int, file: Path | Spool) -> bytes:
    content = os.pread(handle.fileno(), end - start, start)
    if len(content) < end - start:
        raise DataError(f"{file}: the file became shorter while it was read; leave it as it is until the end.")
    return content
