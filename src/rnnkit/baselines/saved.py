"""Arrays of a baseline, read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from rnnkit.errors import CheckpointError


@contextmanager
def opened(path: Path) -> Iterator[NpzFile]:
    """Read a baseline within it.

    Args:
        path: Of its arrays, .npz.

    Yields:
        The arrays by name.

    Raises:
        CheckpointError: If the file, or another that is read within, is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:  # numpy leaves a damaged one open
            yield saved
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise CheckpointError(f"{path}: the baseline cannot be read ({error}); train again.") from error
