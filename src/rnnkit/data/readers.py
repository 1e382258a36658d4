"""Read text files of any size into documents, and report everything that was changed on the way."""

import difflib
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from rnnkit.data.documents import ROW, Document, FileDocuments, Passage, count_characters, split_by_position
from rnnkit.data.scratch import Spool
from rnnkit.data.survey import FileReport, Survey
from rnnkit.errors import ConfigError, DataError

__all__ = ["Corpus", "Document", "FileReport", "read_text", "split_by_position"]

TEXT_SUFFIXES = (".txt", ".md", ".txt.gz")


@dataclass(frozen=True)
class Corpus:
    """Documents in reading order, and a report for each file they come from."""

    documents: Sequence[Document]
    files: tuple[FileReport, ...]

    @property
    def characters(self) -> int:
        """The length of all documents together, in characters."""
        return count_characters(self.documents)

    def notes(self) -> list[str]:
        """Say in sentences, for a person, what reading changed; empty when nothing was."""
        return [note for file in self.files for note in file.notes()]


def read_text(paths: Sequence[str | Path], *, document_separator: str | None = None) -> Corpus:
    r"""Look over files and folders of plain text; long ones stay on disk, and are read again when they are used.

    Args:
        paths: Files (plain or .gz) and folders; of a folder, all *.txt, *.md and *.txt.gz below it, sorted.
        document_separator: Text between two documents of a file, as "<|endoftext|>" or "\n\n\n"; None makes each
            file one document. Documents without a visible character are left out.

    Returns:
        The documents in order, and a report for each file.

    Raises:
        ConfigError: If `document_separator` is empty.
        DataError: If a file is missing, unreadable, empty, truncated or no text, or a folder holds no text file.
        RunError: If a file must be unpacked or mended, and there is no room for the copy.
    """
    if document_separator == "":
        raise ConfigError("document_separator is empty; expected the text that stands between documents, or none.")
    spool = Spool()
    files: list[tuple[Path | Spool, str]] = []
    reports, rows = [], []
    for number, path in enumerate(_text_files(paths)):
        report, passage = _read_file(path, spool)
        reports.append(report)
        files.append((passage.file, report.path))
        rows.append(np.fromiter(_rows(number, passage, document_separator), dtype=ROW))
    return Corpus(FileDocuments(files, np.concatenate([np.empty(0, ROW), *rows])), tuple(reports))


def _text_files(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        files += _folder_files(path) if path.is_dir() else [path]
    return files


def _folder_files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(TEXT_SUFFIXES) and path.is_file())
    if not found:
        raise DataError(
            f"{folder}: the folder holds no {', '.join('*' + suffix for suffix in TEXT_SUFFIXES)} file; name a file."
        )
    return found


def _read_file(path: Path, spool: Spool) -> tuple[FileReport, Passage]:
    """Look a file over; one that is not UTF-8 with LF line ends is copied to the spool as such."""
    survey, start = Survey(path), spool.size
    once = path.suffix == ".gz" or not path.is_file()  # a pipe cannot be read again
    _copy(survey, spool if once else None)
    report = survey.report()
    if survey.changes and not once:
        _copy(Survey(path), spool)
    if survey.changes or once:
        return report, Passage(spool, start, spool.size, survey.characters, survey.line_ends)
    return report, Passage(path, survey.mark_bytes, survey.bytes, survey.characters, survey.line_ends)


def _copy(survey: Survey, spool: Spool | None) -> None:
    with _opened(survey.path) as raw:
        for text in survey.texts(raw):
            if spool is not None:
                spool.write(text.encode())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.{_near_names(path)}") from None
    except PermissionError:
        raise DataError(
            f"{path}: the file may not be read (permission denied); change its permissions, as with chmod +r."
        ) from None
    except (EOFError, zlib.error):
        raise DataError(f"{path}: the gzip file is truncated or damaged; download or compress it again.") from None
    except gzip.BadGzipFile:
        raise DataError(f"{path}: the name ends in .gz but the content is not gzip; rename the file.") from None


def _near_names(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except PermissionError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=3)
    return (
        f" Did you mean {' or '.join(str(path.parent / name) for name in near)}?"
        if near
        else " Check the name and the folder."
    )


def _rows(number: int, passage: Passage, separator: str | None) -> Iterator[tuple[int, ...]]:
    """Yield the ROW of each document with a visible character in file `number`."""
    if separator is None:
        yield number, 1, passage.start, passage.end, passage.characters, passage.line_ends
        return
    line, start = 1, passage.start
    size = characters = line_ends = 0
    visible = False
    for part, ends in _parts(passage.pieces(), separator):
        size += len(part) if part.isascii() else len(part.encode())
        characters += len(part)
        line_ends += part.count("\n")
        visible = visible or (part != "" and not part.isspace())
        if ends:
            if visible:
                yield number, line, start, start + size, characters, line_ends
            line += line_ends + separator.count("\n")
            start += size + len(separator.encode())
            size = characters = line_ends = 0
            visible = False


def _parts(texts: Iterable[str], separator: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text that comes in pieces, and whether each is the last of its document."""
    rest = ""
    for text in texts:
        *closed, rest = (rest + text).split(separator)
        yield from ((part, True) for part in closed)
        sure = max(0, len(rest) - len(separator) + 1)  # a separator may have begun in what comes after
        if sure:
            yield rest[:sure], False
            rest = rest[sure:]
    yield rest, True
