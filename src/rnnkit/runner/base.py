"""What runs an exported model: the contract, and what all runners read."""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnkit.runner.graphs import Graph
from rnnkit.tasks.saved import reading

FORMAT = 2


class Runner(ABC):
    """An exported model.

    Args:
        folder: That `rnnkit export` wrote.
        threads: That onnxruntime may use.

    Attributes:
        config: The model's options.
        graphs: By name.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.folder = folder
        facts = read_facts(folder)
        with reading(folder):
            self.config: Any = SimpleNamespace(**facts["config"])
            arrays = read_arrays(folder / "state.npz")
            self.graphs = {
                name: Graph(folder, about, arrays, threads=threads) for name, about in facts["graphs"].items()
            }

    @property
    def graph(self) -> Graph:
        """The only one of most models."""
        return self.graphs["model"]

    @abstractmethod
    def predict(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Answer inputs as the model's `predict` does, one result an input."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file; within `reading`, for its sake if it is damaged."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as saved:  # np.load leaves a damaged file open
        return {name: saved[name] for name in saved.files}


def read_facts(folder: Path) -> dict[str, Any]:
    """Read `bundle.json`.

    Args:
        folder: That `rnnkit export` wrote.

    Returns:
        What it holds.

    Raises:
        CheckpointError: If it is missing, damaged, or of another format.
    """
    path = folder / "bundle.json"
    with reading(path):
        facts = json.loads(path.read_text())
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}; expected {FORMAT}: export the model again")
        return facts
