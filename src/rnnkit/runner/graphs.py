"""ONNX graphs of an export, with their state carried from one call to the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from rnnkit.errors import CheckpointError

CHUNK_STEPS = 4096  # of a long sequence read at once

Arrays = tuple[np.ndarray, ...]
"""The parts of a state, (batch, ...) each."""


class Graph:
    """A graph, as `bundle.json` describes it.

    Args:
        folder: Of the export.
        facts: What `bundle.json` says of it.
        begun: By name, the parts of states before the first step, (1, ...) each.
        threads: That onnxruntime may use.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], begun: dict[str, np.ndarray], *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        path = folder / facts["file"]
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"{path} cannot be read ({error}); export the model again") from error
        self.inputs, self.state_names = list(facts["inputs"]), list(facts["state"])
        self.any_time, self.multiple = facts["steps"] == "any", int(facts["multiple"])
        self.begun: Arrays = tuple(begun[name] for name in self.state_names)
        self._outputs = len(facts["outputs"])

    @property
    def whole(self) -> bool:
        """Whether it takes whole sequences with their lengths."""
        return "lengths" in self.inputs

    def run(self, *inputs: np.ndarray, state: Sequence[np.ndarray] = ()) -> tuple[Arrays, Arrays]:
        """Run it once.

        Args:
            *inputs: In the order of `inputs`.
            state: In the order of `state_names`.

        Returns:
            Outputs, and the state after them.
        """
        names = (*self.inputs, *self.state_names)
        found: Any = self._session.run(None, dict(zip(names, (*inputs, *state), strict=True)))
        return tuple(found[: self._outputs]), tuple(found[self._outputs :])

    def read(self, *inputs: np.ndarray, state: Arrays | None = None) -> tuple[np.ndarray, Arrays]:
        """Read a sequence, whole, or from a state on, in as many calls as the graph needs.

        Args:
            *inputs: (1, time, ...) each.
            state: None is that before the first step.

        Returns:
            (1, time, ...) the first output, and the state after the last step.
        """
        time = inputs[0].shape[1]
        if self.whole:
            return self.run(*inputs, np.array([time]))[0][0], ()
        after = self.begun if state is None else state
        size = CHUNK_STEPS - CHUNK_STEPS % self.multiple if self.any_time else self.multiple
        parts = []
        for first in range(0, time, size):
            some = (part[:, first : first + size] for part in inputs)
            outputs, after = self.run(*some, state=after)
            parts.append(outputs[0])
        return np.concatenate(parts, axis=1), after
