"""What a file of text is: its encoding, its size and what is wrong in it, found in one pass, a block at a time."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rnnkit.errors import DataError

BLOCK_BYTES = 2_000_000  # read at a time
MOST_BAD_BYTES = 0.10  # a larger share of undecodable bytes is no text

MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip data (name it .gz to have it unpacked)",
    b"PK\x03\x04": "a zip archive or an office document (unpack it, or export plain text)",
    b"%PDF": "a PDF (export its text, as with pdftotext)",
    b"BZh": "bzip2 data (unpack it)",
    b"\xfd7zXZ": "xz data (unpack it)",
    b"\x28\xb5\x2f\xfd": "zstandard data (unpack it)",
    b"\x7fELF": "a program",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet table",
    b"\x93NUMPY": "a NumPy array",
    b"RIFF": "a WAV or AVI recording",
}


@dataclass(frozen=True)
class FileReport:
    """What a file was, and what reading it changed.

    Attributes:
        path: As it was given or found.
        bytes: Size of the content, unpacked.
        encoding: "utf-8", "utf-8 with BOM" or "utf-16".
        bad_bytes: Undecodable sequences, each replaced with U+FFFD.
        first_bad_line: Line (from 1) of the first of them, or None.
        carriage_returns: CRLF pairs and lone CR, each turned into one LF.
    """

    path: str
    bytes: int
    encoding: str
    bad_bytes: int
    first_bad_line: int | None
    carriage_returns: int

    def notes(self) -> list[str]:
        """Say in sentences, for a person, what reading changed; empty when nothing was."""
        notes = []
        if self.bad_bytes:
            where = f"{self.path}:{self.first_bad_line}"
            notes.append(
                f"{where}: {self.bad_bytes} bad bytes replaced with U+FFFD, the first on this line; is the file UTF-8?"
            )
        if self.carriage_returns:
            notes.append(
                f"{self.path}: {self.carriage_returns} line ends with a carriage return (CRLF or CR) turned into LF."
            )
        if self.encoding == "utf-8 with BOM":
            notes.append(f"{self.path}: the byte order mark at the start was dropped.")
        if self.encoding == "utf-16":
            notes.append(f"{self.path}: read as UTF-16, as its byte order mark says.")
        return notes


class Survey:
    """Reads a file as UTF-8 with LF line ends, and takes note of what that changes.

    Args:
        path: Its name, for messages.

    Attributes:
        encoding: As in FileReport.
        bytes: Size of the content, unpacked.
        mark_bytes: How many of them are a byte order mark.
        characters: Length of the text.
        line_ends: How many of them are line ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.encoding = "utf-8"
        self.bytes = self.mark_bytes = self.characters = self.line_ends = 0
        self._decode = codecs.utf_8_decode
        self._head = b""
        self._zeros = self._bad_bytes = self._carriage_returns = 0
        self._first_bad_line: int | None = None
        self._visible = False

    @property
    def changes(self) -> bool:
        """Whether the text is not what stands in the file behind its mark, byte by byte."""
        return self.encoding == "utf-16" or self._bad_bytes > 0 or self._carriage_returns > 0

    def texts(self, file: BinaryIO) -> Iterator[str]:
        """Yield the text in pieces. From the first NUL byte of UTF-8 on there is none, but the bytes are counted."""
        raw = file.read(BLOCK_BYTES)
        self._begin(raw)
        undecoded, held = b"", ""
        raw = raw[self.mark_bytes :]
        final = False
        while not final:
            following = file.read(BLOCK_BYTES)
            final = not following
            self.bytes += len(raw)
            undecoded, raw = undecoded + raw, following
            if self.encoding != "utf-16":
                self._zeros += undecoded.count(b"\0")
            if self._zeros:
                undecoded = b""
                continue
            text, used = self._decoded(undecoded, held, final=final)
            undecoded, text = undecoded[used:], held + text
            held = "\r" if text.endswith("\r") and not final else ""  # an LF may follow it
            yield self._cleaned(text[: len(text) - len(held)])

    def _begin(self, raw: bytes) -> None:
        marks = {
            codecs.BOM_UTF8: ("utf-8 with BOM", codecs.utf_8_decode),
            codecs.BOM_UTF16_LE: ("utf-16", codecs.utf_16_le_decode),
            codecs.BOM_UTF16_BE: ("utf-16", codecs.utf_16_be_decode),
        }
        for mark, (encoding, decode) in marks.items():
            if raw.startswith(mark):
                self.encoding, self._decode, self.mark_bytes = encoding, decode, len(mark)
        self.bytes = self.mark_bytes
        self._head = raw[self.mark_bytes :][:16]

    def _decoded(self, raw: bytes, held: str, *, final: bool) -> tuple[str, int]:
        """Return the text of all complete characters of `raw` and how many bytes they are; `held` stands before it."""
        try:
            return self._decode(raw, "strict", final)
        except UnicodeDecodeError as error:
            text, used = self._decode(raw, "replace", final)
            # U+FFFD that the file itself holds is good text: only the surplus is bad.
            self._bad_bytes += text.count("\ufffd") - self._decode(raw, "ignore", final)[0].count("\ufffd")
            if self._first_bad_line is None:
                before = held + self._decode(raw[: error.start], "ignore", True)[0]
                self._first_bad_line = 1 + self.line_ends + _with_line_feeds(before).count("\n")
            return text, used

    def _cleaned(self, text: str) -> str:
        carriage_returns = text.count("\r")
        if carriage_returns:
            self._carriage_returns += carriage_returns
            text = _with_line_feeds(text)
        self.characters += len(text)
        self.line_ends += text.count("\n")
        self._visible = self._visible or (text != "" and not text.isspace())
        return text

    def report(self) -> FileReport:
        """Say what was found, once the text has been read.

        Returns:
            What the file was.

        Raises:
            DataError: If it is no text, or an empty one.
        """
        if self._zeros:
            raise DataError(
                f"{self.path}: this is not text but {self._kind} (it holds {self._zeros} NUL bytes); "
                "expected UTF-8 text."
            )
        if self._bad_bytes > MOST_BAD_BYTES * self.characters:
            codec = "UTF-16" if self.encoding == "utf-16" else "UTF-8"
            raise DataError(
                f"{self.path}: this is not text but {self._kind} "
                f"({self._bad_bytes} of {self.bytes} bytes are not {codec}). "
                "If it is text in another encoding, convert it: iconv -f ENCODING -t UTF-8."
            )
        if not self._visible:
            raise DataError(
                f"{self.path}: the file is empty ({self.bytes} bytes, no visible character); expected text."
            )
        return FileReport(
            str(self.path),
            self.bytes,
            self.encoding,
            self._bad_bytes,
            self._first_bad_line,
            self._carriage_returns,
        )

    @property
    def _kind(self) -> str:
        return next((kind for magic, kind in MAGIC.items() if self._head.startswith(magic)), "a binary file")


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
