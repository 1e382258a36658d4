"""Room on disk for what is too large for memory, gone when nobody needs it any more."""

import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from rnnkit.errors import RunError


class Spool:
    """A temporary file without a name: it goes with the object, and with the process however that ends.

    Attributes:
        size: Bytes written so far.
    """

    def __init__(self) -> None:
        self.size = 0

    @cached_property
    def _file(self) -> BinaryIO:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the spool is there
        weakref.finalize(self, file.close)
        return file

    def write(self, content: bytes) -> None:
        """Append some bytes, readable at once.

        Raises:
            RunError: If there is no room for them.
        """
        with _making_room():
            self._file.write(content)
            self._file.flush()
        self.size += len(content)

    def open(self) -> BinaryIO:
        """Return a handle of its own for os.pread, to be closed by the caller."""
        return os.fdopen(os.dup(self._file.fileno()), "rb")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Lend a temporary folder; what is mapped from it stays readable after the block.

    Yields:
        The folder.

    Raises:
        RunError: If there is no room for what the block writes.
    """
    with _making_room(), tempfile.TemporaryDirectory(prefix="rnnkit-") as folder:
        yield Path(folder)


@contextmanager
def _making_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"temporary files cannot be written: {error}; free some space, or set TMPDIR to a folder that has some"
        ) from error
