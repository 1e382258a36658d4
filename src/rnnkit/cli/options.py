"""Options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from cyclopts import Group, Parameter

from rnnkit.errors import ConfigError, DataError
from rnnkit.tasks import Task

if TYPE_CHECKING:
    from io import BufferedReader

COMMON = Group("Common", sort_key=9)
CHUNK_CHARACTERS = 65_536
CHUNK_BYTES = 65_536
CONTAINERS = (b"RIFF", b"fLaC", b"OggS")


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


@dataclass(frozen=True)
class Parallel:
    """Files whose lines are translations of one another."""

    source: Path | None = None
    """Of a translator: a file of sources, a line each."""
    target: Annotated[list[Path] | None, Parameter(negative=())] = None
    """Of a translator: a file of their translations, a line each; several files are several translations."""

    def instead_of(self, files: list[Path] | None) -> list[Path] | None:
        """Return the files, or those that are given otherwise where these are not.

        Args:
            files: Those given otherwise.

        Returns:
            The source's, then the translations'; None where none is given.

        Raises:
            ConfigError: If one side is missing, or files are given both ways.
        """
        if self.source is None and self.target is None:
            return files
        if self.source is None or not self.target:
            raise ConfigError("parallel files come in pairs; expected one of the source and one of the target")
        if files:
            raise ConfigError(f"{files[0]} and {self.source} are both given; expected a file, or parallel files")
        return [self.source, *self.target]


@dataclass(frozen=True)
class ParallelTraining(Parallel):
    """Parallel files to train and to validate on."""

    valid_source: Path | None = None
    """Likewise to validate on."""
    valid_target: Annotated[list[Path] | None, Parameter(negative=())] = None
    """Likewise to validate on."""

    @property
    def validation(self) -> Parallel:
        """Those to validate on."""
        return Parallel(self.valid_source, self.valid_target)


def given_options(options: Any) -> list[str]:
    """Name the fields of a dataclass of options that are given: are not None."""
    return [one.name for one in fields(options) if getattr(options, one.name) is not None]


def option_words(name: str) -> str:
    """Write the name of an option as it is typed."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Searching:
    """How widely to search for the likeliest text."""

    beam: int | None = None
    """Hypotheses kept in the search; 1 takes the likeliest token each time. Unless given, 5 of a translator, 1 of a
    recogniser of speech, 8 of one with a language model or hot words."""
    alternatives: int | None = None
    """Answers to name of each input."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return given_options(self)


AS_TABLES, ANY_MACHINE, NO_PARALLEL, USUAL_SEARCH = Common(), Machine(), Parallel(), Searching()


def given_inputs(
    task: Task, words: str | None, *, text: str | None, file: Path | None, stdin: bool
) -> tuple[list[Any], bool]:
    """Return the inputs of a verb that takes one that is typed, a file of some, or standard input.

    Args:
        task: Says how they are written.
        words: The positional argument: typed unless it names a file.
        text: Forced to be typed.
        file: Forced to be a file.
        stdin: Whether to read standard input instead.

    Returns:
        The inputs, and whether it is one that was typed.

    Raises:
        ConfigError: If there is not exactly one of them.
        DataError: If the file cannot be read.
    """
    given = [value for value in (words, text, file, stdin or None) if value is not None]
    if len(given) != 1:
        raise ConfigError(f"{len(given)} inputs are given; expected one: a text, a file, or - for standard input")
    if stdin:
        inputs = task.parse_inputs("".join(arriving_text()))
        if not inputs:
            raise DataError("standard input is empty; expected at least one line")
        return inputs, False
    if text is not None:
        return [task.parse_input(text)], True
    path = file if file is not None else Path(words or "")
    if file is not None or _is_file(path):
        return task.read_inputs(path), False
    return [task.parse_input(words or "")], True


def arriving_text(longest: int = CHUNK_CHARACTERS) -> Iterator[str]:
    """Give standard input as it comes: a line, or what there is of a longer one.

    Args:
        longest: Characters of a line that are given at once; -1 gives whole lines.

    Yields:
        Pieces of text.

    Raises:
        DataError: If it is no text.
    """
    try:
        while chunk := sys.stdin.readline(longest):
            yield chunk
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"standard input holds the byte 0x{byte:02x}, which is not UTF-8; expected text") from None


def arriving_sound(sample_rate: int) -> Iterator[np.ndarray]:
    """Give standard input as it comes, 16-bit little-endian samples of one channel.

    Args:
        sample_rate: Named in the message.

    Yields:
        (samples,) float32 in [-1, 1).

    Raises:
        DataError: If it is a file of a recording and not its bare samples.
    """
    source = cast("BufferedReader", sys.stdin.buffer)
    odd, begun = b"", False  # half a sample, whether anything has come
    while chunk := source.read1(CHUNK_BYTES):
        if not begun and chunk[:4] in CONTAINERS:
            raise DataError(
                "standard input is a recording's file; expected bare samples: "
                f"ffmpeg -i FILE -f s16le -ac 1 -ar {sample_rate} - | rnnkit stream ..., or use predict"
            )
        begun, sound = True, odd + chunk
        whole = len(sound) // 2 * 2
        odd = sound[whole:]
        yield np.frombuffer(sound[:whole], dtype="<i2").astype(np.float32) / 32768


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long to be a name
        return False
