"""Parts of a saved model, read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

from rnnkit.errors import CheckpointError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read a part of a model within it.

    Args:
        path: The file or folder, for the message.

    Yields:
        Nothing.

    Raises:
        CheckpointError: If the part is missing or damaged.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read ({error!r}); copy the model again") from error
