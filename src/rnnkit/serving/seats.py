"""How many streams live over all workers of a server, in a file that they share."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_SEAT = struct.Struct("<qq")  # process, streams


class Seats:
    """Counts the streams of this process among those of its siblings; a process that has died counts no more.

    Args:
        path: The file.
        most: Streams over all.

    Example:
        >>> import tempfile
        >>> seats = Seats(Path(tempfile.mkdtemp()) / "seats", most=1)
        >>> seats.take(), seats.take()
        (True, False)
        >>> seats.leave()
        >>> seats.taken()
        0
        >>> seats.close()
    """

    def __init__(self, path: Path, *, most: int) -> None:
        self.most = most
        path.touch()
        self._file: BinaryIO = path.open("r+b", buffering=0)

    def take(self) -> bool:
        """Take a seat, if there is one."""
        with self._counts() as counts:
            if sum(counts.values()) >= self.most:
                return False
            counts[os.getpid()] = counts.get(os.getpid(), 0) + 1
        return True

    def leave(self) -> None:
        """Give a seat back."""
        with self._counts() as counts:
            counts[os.getpid()] -= 1

    def taken(self) -> int:
        """Count the seats that are taken."""
        with self._counts() as counts:
            return sum(counts.values())

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    @contextmanager
    def _counts(self) -> Iterator[dict[int, int]]:
        """Read the counts by process, and write what becomes of them."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._file.seek(0)
            counts = {pid: count for pid, count in _SEAT.iter_unpack(self._file.read()) if _lives(pid)}
            yield counts
            self._file.seek(0)
            self._file.truncate()
            self._file.write(b"".join(_SEAT.pack(*pair) for pair in counts.items()))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
