"""Tables of text or numbers as frames: columns by heading, and the line that every cell stands on."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rnnkit.data.readers import read_text
from rnnkit.data.tables import find_column, find_delimiter, has_header
from rnnkit.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "na", "nan", "null", "none", "?", "-", "n/a")


@dataclass(frozen=True)
class Frame:
    """A table, and where it stands.

    Attributes:
        path: Names it in messages.
        table: Text as written, or values of their own types.
        first_line: The line of its first row.
        headed: Whether its columns have headings.
        notes: What reading it changed.
    """

    path: str
    table: pl.DataFrame
    first_line: int
    headed: bool
    notes: tuple[str, ...]

    @property
    def headings(self) -> list[str]:
        """Names of its columns."""
        return self.table.columns

    def place(self, row: int) -> str:
        """Return file:line of a row, from 0."""
        return f"{self.path}:{row + self.first_line}"

    def find(self, wanted: str, *, option: str) -> str:
        """Find a column by its heading, or by its number from 1.

        Args:
            wanted: The heading or number.
            option: The option that named it, for the message.

        Returns:
            Its heading.

        Raises:
            ConfigError: If there is no such column, naming the ones there are.
        """
        headings = self.headings
        named = headings if self.headed else None
        return headings[find_column(named, wanted, width=len(headings), option=option, path=self.path)]

    def cells(self, name: str) -> list[str]:
        """Return the cells of a column, "" where one is missing."""
        return ["" if cell is None else cell for cell in self.written(name).to_list()]

    def written(self, name: str) -> pl.Series:
        """Return the cells of a column as text."""
        import polars as pl

        column = self.table.get_column(name)
        return column if column.dtype == pl.String else column.cast(pl.String)

    def numbers(self, name: str, *, what: str) -> np.ndarray:
        """Return a column as float64, NaN where a value is missing.

        Args:
            name: Its heading.
            what: What it is, for the message.

        Returns:
            (rows,).

        Raises:
            DataError: If a cell is no number.
        """
        import polars as pl

        cells = self.table.get_column(name)
        if not cells.dtype.is_numeric():
            cells = self.written(name)
        found = cells.cast(pl.Float64, strict=False)
        if found.null_count() > cells.null_count():  # which no column of plain numbers has
            cells = cells.str.strip_chars()
            found = cells.cast(pl.Float64, strict=False)
            wrong = found.is_null() & ~(cells.is_null() | cells.str.to_lowercase().is_in(list(MISSING)))
            if wrong.any():
                row = int(wrong.arg_max() or 0)
                raise DataError(
                    f"{self.place(row)}: {what} {name!r} is {cells[row]!r}; expected a number, or nothing where there "
                    "is none."
                )
        values = found.to_numpy().copy()
        infinite = np.isinf(values)
        if infinite.any():
            raise DataError(f"{self.place(int(infinite.argmax()))}: {what} {name!r} is infinite; expected a number.")
        return values

    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers, or nothing where none is."""
        try:
            return bool(np.isfinite(self.numbers(name, what="")).any())
        except DataError:
            return False


def read_frame(
    path: Path, *, delimiter: str | None, header: Literal["auto", "present", "absent"], names: Sequence[str]
) -> Frame:
    """Read a table.

    Args:
        path: CSV (plain or .gz) or Parquet.
        delimiter: Between cells; None finds it out.
        header: Whether the first row names the columns; auto looks at it.
        names: Headings that are expected: where the first row has one of them, it is the header.

    Returns:
        The table; columns without a heading are named by their numbers from 1.

    Raises:
        DataError: If it cannot be read or has no row.
    """
    if path.suffix in (".parquet", ".pq"):
        return _read_parquet(path)
    return _read_csv(path, delimiter, header, names)


def _read_csv(path: Path, delimiter: str | None, header: str, names: Sequence[str]) -> Frame:
    import polars as pl

    corpus = read_text([path])
    text = corpus.documents[0].text.rstrip()
    lines = text.split("\n", 200)[:200]
    delimiter = delimiter or find_delimiter(lines)
    headed = header == "present" or (header == "auto" and has_header(lines, delimiter, names))
    try:
        table = pl.read_csv(
            io.BytesIO(text.encode()),
            separator=delimiter,
            has_header=headed,
            infer_schema=False,
            truncate_ragged_lines=False,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n")[0]
        place = f"{path}{_first_wide_row(text, delimiter)}"
        raise DataError(f"{place}: the table cannot be read: {reason}; expected rows of one width.") from None
    if not table.height:
        raise DataError(f"{path}: the file has no row below its header; expected a value a row.")
    if not headed:
        table = table.rename({name: str(index) for index, name in enumerate(table.columns, start=1)})
    return Frame(str(path), table, 1 + headed, headed, tuple(corpus.notes()))


def _first_wide_row(text: str, delimiter: str) -> str:
    """Return ":line" of the first row that is wider than the one at the top, "" where none is."""
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    width = len(next(rows))
    return next((f":{rows.line_num}" for row in rows if len(row) > width), "")


def _read_parquet(path: Path) -> Frame:
    import polars as pl

    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: the file cannot be read as Parquet ({str(error).splitlines()[0]}).") from None
    return Frame(str(path), table, 1, True, ())
