"""One series read as it arrives: the network's stacks packed once, and their steps taken without a dispatcher."""

from __future__ import annotations

from threading import Lock

import numpy as np
import torch
from torch import Tensor

from rnnkit.kernels import State
from rnnkit.session import Session
from rnnkit.tasks.forecasting.network import ForecastNetwork


class Reader:
    """A network that reads single series, its weights packed when they are first needed and again when they change.

    Args:
        network: Trained.
    """

    def __init__(self, network: ForecastNetwork) -> None:
        self.network = network
        self._parameters = list(network.stack.parameters())
        self._sessions: list[Session] = []
        self._packed: list[int] = []
        self._lock = Lock()  # a session belongs to one thread at a time

    def read(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Read steps of one series.

        Args:
            inputs: (1, time, input_size).
            state: As `ForecastNetwork.forward` returns it.

        Returns:
            (1, state_size) what the network says after the last step, and its state then.
        """
        steps = np.ascontiguousarray(inputs.numpy())
        said, after = [], []
        with self._lock:
            for session in self._current():
                session.restore(state[len(after) : len(after) + session.state_parts])
                said.append(session.run(steps)[:, -1])
                after += [torch.from_numpy(part) for part in session.state()]
        return torch.from_numpy(np.concatenate(said, axis=1)), tuple(after)

    def _current(self) -> list[Session]:
        changes = [parameter._version for parameter in self._parameters]
        if changes != self._packed:
            self._sessions = [Session(stack) for stack in self.network.stacks]
            self._packed = changes
        return self._sessions
