"""Tables as text: CSV, TSV and their kin. How a file is written is found out, and every row knows its line."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnkit.data.readers import read_text
from rnnkit.errors import ConfigError, DataError

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
DETECTION_ROWS = 200  # read to find the delimiter, the quotes and the header
LONGEST_HEADING = 40  # characters
MOST_SHOWN = 3  # bad rows named in a note
MOST_BAD_SHARE = 0.2  # of the rows; a file with more is not what it was taken for

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Row:
    """One row of a table, and the line of the file it starts on (from 1)."""

    cells: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Table:
    """A table file as read: its rows without the heading, all as wide as the table.

    Attributes:
        path: The file.
        headings: Names of the columns; None where the file has none.
        rows: In order.
        bad: Rows of another width, left out.
        delimiter: What stands between two cells.
        notes: What reading the file changed.
    """

    path: str
    headings: tuple[str, ...] | None
    rows: tuple[Row, ...]
    bad: tuple[Row, ...]
    delimiter: str
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.headings) if self.headings is not None else len(self.rows[0].cells)

    @property
    def shape(self) -> str:
        """How the file is written, in words."""
        heading = "with a header" if self.headings is not None else "without a header"
        return f"{DELIMITERS.get(self.delimiter, repr(self.delimiter))}-separated, {heading}"

    def column(self, index: int) -> list[str]:
        """Return one column's cells."""
        return [row.cells[index] for row in self.rows]

    def name(self, index: int) -> str:
        """Name a column for a person: its heading, or its number from 1."""
        return repr(self.headings[index]) if self.headings is not None else f"{index + 1}"

    def find(self, wanted: str, *, option: str) -> int:
        """Find a column by its heading, or by its number from 1.

        Args:
            wanted: The heading or number.
            option: The option that named it, for the message.

        Returns:
            Its index from 0.

        Raises:
            ConfigError: If there is no such column, naming the ones there are.
        """
        return find_column(self.headings, wanted, width=self.width, option=option, path=self.path)


def find_column(headings: Sequence[str] | None, wanted: str, *, width: int, option: str, path: str) -> int:
    """Find a column of a table by its heading, or by its number from 1.

    Args:
        headings: Of its columns; None where the file has none.
        wanted: The heading or number.
        width: How many columns there are.
        option: The option that named it, for the message.
        path: The file, likewise.

    Returns:
        Its index from 0.

    Raises:
        ConfigError: If there is no such column, naming the ones there are.
    """
    names = [name.strip().lower() for name in headings or ()]
    sought = wanted.strip()
    if sought.lower() in names:
        return names.index(sought.lower())
    if sought.isdecimal() and 1 <= int(sought) <= width:
        return int(sought) - 1
    known = ", ".join(headings) if headings is not None else f"1 to {width} (the file has no header)"
    raise ConfigError(f"{option} is {wanted!r}, which {path} does not have; expected one of {known}")


def read_table(
    path: str | Path,
    *,
    delimiter: str | None = None,
    header: Literal["auto", "present", "absent"] = "auto",
    names: Sequence[str] = (),
) -> Table:
    """Read a table of text.

    Quotes protect delimiters and line ends (RFC 4180); in a tab-separated file only where they are used as such.

    Args:
        path: The file (plain or .gz); its encoding, byte order mark and line ends are seen to.
        delimiter: Between cells; None finds it out.
        header: Whether the first row names the columns; auto looks at it.
        names: Headings that are expected: where the first row has one of them, it is the header.

    Returns:
        The table.

    Raises:
        DataError: If the file cannot be read, a quote is not closed, or it has no row.
    """
    corpus = read_text([path])
    text = corpus.documents[0].text
    lines = _lines(text)
    chosen = delimiter if delimiter is not None else find_delimiter(lines)
    quoted = chosen != "\t" or _quotes_cells(lines, chosen)
    rows = [row for row in _parse(lines, chosen, quoted=quoted, path=str(path)) if any(row.cells)]
    if not rows:
        raise DataError(f"{path}: the file has no row; expected a table with a text and a label in each.")
    width = Counter(len(row.cells) for row in rows[:DETECTION_ROWS]).most_common(1)[0][0]
    headed = header == "present" or (header == "auto" and _is_header(rows, width, names))
    headings = tuple(cell.strip() for cell in rows[0].cells) if headed else None
    body = rows[1:] if headed else rows
    good = tuple(row for row in body if len(row.cells) == width)
    bad = tuple(row for row in body if len(row.cells) != width)
    if not good or (headings is not None and len(headings) != width):
        raise DataError(f"{path}:{rows[0].line}: the file has a header and no row below it as wide; expected rows.")
    return Table(str(path), headings, good, bad, chosen, tuple(corpus.notes()))


def _lines(text: str) -> list[str]:
    r"""Split at \n alone: other signs that Python takes for line ends may stand inside a cell."""
    parts = text.split("\n")
    ends = [part + "\n" for part in parts[:-1]]
    return [*ends, parts[-1]] if parts[-1] else ends


def _parse(lines: Sequence[str], delimiter: str, *, quoted: bool, path: str) -> Iterator[Row]:
    if not quoted:
        for number, line in enumerate(lines, start=1):
            yield Row(tuple(line.rstrip("\n").split(delimiter)), number)
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield Row(tuple(cells), line)
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        raise DataError(
            f'{path}:{line}: {reason}; inside a quoted cell a quote is written twice, "", and after it comes the '
            f"delimiter {delimiter!r}: mend the line, or name the --delimiter."
        ) from None


def has_header(lines: Sequence[str], delimiter: str, names: Sequence[str]) -> bool:
    """Return whether the first of some lines of a table names its columns; `names` are headings that are expected."""
    rows = [Row(tuple(cells), 1) for cells in csv.reader(lines, delimiter=delimiter) if any(cells)]
    width = Counter(len(row.cells) for row in rows).most_common(1)[0][0] if rows else 0
    return bool(rows) and _is_header(rows, width, names)


def find_delimiter(lines: Sequence[str]) -> str:
    """Take the delimiter that cuts most rows into the same number of cells, at least 2."""
    best, best_share = ",", 0.0
    for delimiter in ("\t", ",", ";", "|"):  # a tab is seldom a part of the text, a comma often
        widths = Counter(_widths(lines[:DETECTION_ROWS], delimiter))
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(0, 0))
        share = count / max(widths.total(), 1) if width > 1 else 0.0
        if share > best_share + 0.1:  # a later one must be clearly better
            best, best_share = delimiter, share
    return best


def _widths(lines: Sequence[str], delimiter: str) -> Iterator[int]:
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)
    for cells in reader:
        if cells:
            yield len(cells)


def _quotes_cells(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotes stand around cells here, and not just in the text: all that are opened are closed."""
    opened = re.compile(rf'(?:^|{re.escape(delimiter)})"')
    whole = re.compile(rf'(?:^|{re.escape(delimiter)})"(?:[^"]|"")*"(?={re.escape(delimiter)}|\n|$)')
    sample = "".join(lines)
    count = len(opened.findall(sample, 0)) if len(lines) == 1 else sum(len(opened.findall(line)) for line in lines)
    if not count:
        return False
    found = sum(1 for _ in re.finditer(whole.pattern, sample, re.MULTILINE))
    return found == count


def _is_header(rows: Sequence[Row], width: int, names: Sequence[str]) -> bool:
    """Whether the first row names the columns: it has a name that is expected, or nothing of it looks like a value."""
    first = [cell.strip() for cell in rows[0].cells]
    if len(first) != width or not all(first) or len(set(first)) < width:
        return False
    if any(cell.lower() in names for cell in first):
        return True
    if any(len(cell) > LONGEST_HEADING or _is_number(cell) for cell in first):
        return False
    columns = list(zip(*(row.cells for row in rows[1:DETECTION_ROWS] if len(row.cells) == width), strict=True))
    repeated = any(cell in column for cell, column in zip(first, columns, strict=False))
    return bool(columns) and not repeated and not any(cell.endswith((".", "!", "?")) for cell in first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def row_notes(problems: Sequence[tuple[str, int, str]], rows: int) -> list[str]:
    """Say which rows are left out, and why.

    Args:
        problems: File, line and reason of each bad row.
        rows: How many rows there are, the bad ones included.

    Returns:
        One sentence, or none.

    Raises:
        DataError: If too many are bad for the file to be what it was taken for.
    """
    if not problems:
        return []
    shown = "; ".join(f"{path}:{line}: {reason}" for path, line, reason in problems[:MOST_SHOWN])
    more = f" and {len(problems) - MOST_SHOWN:,} more" if len(problems) > MOST_SHOWN else ""
    if len(problems) > MOST_BAD_SHARE * rows:
        raise DataError(f"{len(problems):,} of {rows:,} rows cannot be used: {shown}{more}. Mend them, or the options.")
    return [f"{len(problems):,} of {rows:,} rows are left out: {shown}{more}"]
