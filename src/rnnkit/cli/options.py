"""Options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from rnnkit.errors import ConfigError, DataError

COMMON = Group("Common", sort_key=9)
CHUNK_CHARACTERS = 65_536


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Common:
    """How to report."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print JSON instead of tables."""
    quiet: Annotated[bool, Parameter(negative=())] = False
    """Say nothing on the way."""
    debug: Annotated[bool, Parameter(negative=())] = False
    """Show where an error comes from."""


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Machine:
    """Where to compute."""

    device: str = "cpu"
    """cpu, cuda or auto."""
    threads: int | None = None
    """Processor threads; unset is one a core."""


AS_TABLES, ANY_MACHINE = Common(), Machine()


def given_text(words: str | None, *, text: str | None, file: Path | None, stdin: bool) -> str:
    """Return the input of a verb that takes text, a file, or standard input.

    Args:
        words: The positional argument: a text unless it names a file.
        text: Forced to be a text.
        file: Forced to be a file.
        stdin: Whether to read standard input instead.

    Returns:
        The text.

    Raises:
        ConfigError: If there is not exactly one of them.
        DataError: If the file cannot be read.
    """
    given = [value for value in (words, text, file, stdin or None) if value is not None]
    if len(given) != 1:
        raise ConfigError(f"{len(given)} inputs are given; expected one: a text, a file, or - for standard input")
    if text is not None:
        return text
    if stdin:
        return "".join(arriving_text())
    path = file if file is not None else Path(words or "")
    if file is None and not _is_file(path):
        return words or ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text (byte {error.start}); expected a text file") from None


def arriving_text() -> Iterator[str]:
    """Give standard input as it comes: a line, or what there is of a longer one.

    Yields:
        Pieces of text.

    Raises:
        DataError: If it is no text.
    """
    try:
        while chunk := sys.stdin.readline(CHUNK_CHARACTERS):
            yield chunk
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"standard input holds the byte 0x{byte:02x}, which is not UTF-8; expected text") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long to be a name
        return False
