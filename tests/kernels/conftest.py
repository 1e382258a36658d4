"""Calls on the kernels: the formulas of LAYERS and others, with every feature a call can have."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rnnkit.kernels import BACKENDS, GatedScan, State
from rnnkit.kernels.scan import ResetGate, Update
from rnnkit.layers import LAYERS, GatedLayer

LONG = ("layer-norm", "peephole", "lstm", "gru", "sru")  # of which an interpreted kernel takes seconds
QUICK_COMPILED = ("rnn", "gru", "mingru")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes `backend` over every backend, and `formula` over every formula."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)
    if "formula" in metafunc.fixturenames:
        metafunc.parametrize("formula", FORMULAS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes seconds for each formula to the slow tests, where triton is interpreted or layers compiled."""
    for item in items:
        name = item.name
        twice = "second_derivatives" in name or "retained_graph" in name
        long = "triton" in name and (twice or ("autocast" in name and any(one in name for one in LONG)))
        if long or ("compiled_layer" in name and not any(f"[{one}]" in name for one in QUICK_COMPILED)):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def device(small_chunks: None) -> Iterator[str]:
    """Compute on the device that RNNKIT_TEST_DEVICE names, else on the CPU, where triton is interpreted."""
    name = os.environ.get("RNNKIT_TEST_DEVICE", "cpu")
    with torch.device(name):
        yield name


def counting(input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
    """Average over time: a whole number counts the steps, and the output is not the state."""
    h, count = state
    h = h + (torch.tanh(input_gates + hidden_gates) - h) / (count + 1)
    return 2 * h, (h, count + 1)


def mixing(parameters: tuple[Tensor, ...]) -> Update:
    """Give an update that reads two parameters of its own."""
    look, scale = parameters

    def update(input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        i, o = (input_gates + hidden_gates).chunk(2, dim=-1)
        i = torch.sigmoid(i + look * state[1])
        c = (1 - i) * state[1] + i * torch.tanh(scale @ hidden_gates[:, : len(look)].T).T
        return torch.sigmoid(o) * c, (torch.sigmoid(o) * c, c)

    return update


OWN = {"counting": (1, 1, 2), "mixing": (2, 2, 2)}  # gates of the inputs and of the state, state parts
GATED: dict[str, type[GatedLayer]] = {name: layer for name, layer in LAYERS.items() if issubclass(layer, GatedLayer)}
FORMULAS = [*GATED, *OWN]


class Formula(NamedTuple):
    """What a call needs to know of its formula."""

    num_gates: int
    num_hidden_gates: int
    num_states: int
    name: str
    parameters: tuple[Tensor, ...]
    update: Update
    bind: Callable[[tuple[Tensor, ...]], Update] | None
    reset_gate: ResetGate | None = None


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
        found = Calls.formula(formula, hidden_size)
        gates, hidden_gates, output_size = found.num_gates, found.num_hidden_gates, projection_size or hidden_size
        sizes = [output_size] + [hidden_size] * (found.num_states - 1)
        state = tuple(Calls.draw(batch, size) for size in sizes)
        if formula == "counting":
            state = (state[0], torch.arange(batch)[:, None].repeat(1, hidden_size))
        keep = tuple(torch.rand(batch, time, part.shape[1]).double() for part in state)
        return GatedScan(
            inputs=Calls.draw(batch, time, input_size),
            state=state,
            lengths=None if lengths is None else torch.tensor(lengths),
            update=found.update,
            formula=found.name,
            input_weight=Calls.draw(gates * hidden_size, input_size),
            hidden_weight=Calls.draw(hidden_gates * hidden_size, output_size // heads),
            input_bias=Calls.draw(gates * hidden_size) if bias else None,
            hidden_bias=Calls.draw(hidden_gates * hidden_size) if bias else None,
            parameters=found.parameters,
            bind=found.bind,
            reset_gate=found.reset_gate,
            heads=heads,
            projection=Calls.draw(projection_size, hidden_size) if projection_size else None,
            hidden_mask=(torch.rand(batch, output_size).double() < 0.7) / 0.7 if hidden_mask else None,
            zoneout=keep if zoneout else (),
            checkpoint_every=checkpoint_every,
        )

    @staticmethod
    def formula(name: str, hidden_size: int) -> Formula:
        if name == "counting":
            return Formula(*OWN[name], "", (), counting, None)
        if name == "mixing":
            own = (Calls.draw(hidden_size), Calls.draw(hidden_size, hidden_size))
            return Formula(*OWN[name], "", own, mixing(own), mixing)
        layer = GATED[name](1, hidden_size).double()
        parameters = tuple(layer._read_by_update().values())
        for parameter in parameters:  # some begin at zero, where mistakes would not show
            nn.init.normal_(parameter, std=0.5)
        reset_gate = None if GATED[name].reset_gate is GatedLayer.reset_gate else layer.reset_gate
        sizes = (layer.num_gates, layer._hidden_gates, len(layer.state_names))
        return Formula(*sizes, layer.formula, parameters, layer.update, layer._bind, reset_gate)

    @staticmethod
    def projects(name: str) -> bool:
        return name in GATED and GATED[name].projects

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
