"""Calls on the kernels: the formulas of LAYERS and others, with every feature a call can have."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnkit.kernels import BACKENDS, GatedScan, State
from rnnkit.layers import LAYERS, GatedLayer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `backend` over every backend, and `formula` over every formula."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)
    if "formula" in metafunc.fixturenames:
        metafunc.parametrize("formula", FORMULAS)


def counting(input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
    """Average over time: a whole number counts the steps, and the output is not the state."""
    h, count = state
    h = h + (torch.tanh(input_gates + hidden_gates) - h) / (count + 1)
    return 2 * h, (h, count + 1)


def peephole(parameters: tuple[Tensor, ...]):
    """Give an update that reads two parameters of its own."""
    look, scale = parameters

    def update(input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        i, o = (input_gates + hidden_gates).chunk(2, dim=-1)
        i = torch.sigmoid(i + look * state[1])
        c = (1 - i) * state[1] + i * torch.tanh(scale @ hidden_gates[:, : len(look)].T).T
        return torch.sigmoid(o) * c, (torch.sigmoid(o) * c, c)

    return update


OWN = {"counting": (1, 2), "peephole": (2, 2)}  # gates, state parts
FORMULAS = [*LAYERS, *OWN]


class Calls:
    """Builds calls in float64 whose every tensor wants a gradient."""

    @staticmethod
    def make(
        formula: str,
        *,
        batch: int = 3,
        time: int = 5,
        input_size: int = 4,
        hidden_size: int = 6,
        heads: int = 1,
        bias: bool = True,
        lengths: list[int] | None = None,
        projection_size: int | None = None,
        hidden_mask: bool = False,
        zoneout: bool = False,
        checkpoint_every: int | None = None,
    ) -> GatedScan:
        gates, parts, update, name = Calls.formula(formula)
        output_size = projection_size or hidden_size
        sizes = [output_size] + [hidden_size] * (parts - 1)
        state = tuple(Calls.draw(batch, size) for size in sizes)
        if formula == "counting":
            state = (state[0], torch.arange(batch)[:, None].repeat(1, hidden_size))
        own = formula == "peephole"
        parameters = (Calls.draw(hidden_size), Calls.draw(hidden_size, hidden_size)) if own else ()
        keep = tuple(torch.rand(batch, time, part.shape[1]).double() for part in state)
        return GatedScan(
            inputs=Calls.draw(batch, time, input_size),
            state=state,
            lengths=None if lengths is None else torch.tensor(lengths),
            update=peephole(parameters) if own else update,
            formula=name,
            input_weight=Calls.draw(gates * hidden_size, input_size),
            hidden_weight=Calls.draw(gates * hidden_size, output_size // heads),
            input_bias=Calls.draw(gates * hidden_size) if bias else None,
            hidden_bias=Calls.draw(gates * hidden_size) if bias else None,
            parameters=parameters,
            bind=peephole if own else None,
            heads=heads,
            projection=Calls.draw(projection_size, hidden_size) if projection_size else None,
            hidden_mask=(torch.rand(batch, output_size).double() < 0.7) / 0.7 if hidden_mask else None,
            zoneout=keep if zoneout else (),
            checkpoint_every=checkpoint_every,
        )

    @staticmethod
    def formula(name: str) -> tuple[int, int, Any, str]:
        if name in OWN:
            return (*OWN[name], counting, "")
        layer = LAYERS[name](1, 1)
        assert isinstance(layer, GatedLayer)
        return layer.num_gates, len(layer.state_names), layer.update, layer.formula

    @staticmethod
    def draw(*shape: int) -> Tensor:
        return (0.5 * torch.randn(*shape, dtype=torch.float64)).requires_grad_()

    @staticmethod
    def fresh(call: GatedScan, tensors: Any = None) -> GatedScan:
        """Return the call on leaves of its own, so that gradients of two runs do not meet."""
        found = call.tensors() if tensors is None else tensors
        leaves = [None if t is None else t.detach().clone().requires_grad_(t.is_floating_point()) for t in found]
        return dataclasses.replace(call.with_tensors(leaves))


@pytest.fixture(scope="session")
def calls() -> type[Calls]:
    """Return the builder of calls."""
    return Calls
