"""Formulas of a user's own in the C++ core: what is translated equals the formula, what is not says why."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnkit import GatedLayer, kernels
from rnnkit.kernels.core import core, levels, use_level

pytestmark = pytest.mark.skipif(core is None, reason="rnnkit was installed without its C++ kernels")


class Coupled(GatedLayer):
    num_gates, state_names = 3, ("h", "c")

    def update(self, input_gates, hidden_gates, state):
        f, g, o = (input_gates + hidden_gates).chunk(3, dim=-1)
        c = f.sigmoid() * state[1] + (1 - f.sigmoid()) * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


class Normed(GatedLayer):
    """Layer norms over all gates and over the units, a vector and a single number as parameters, a projection."""

    num_gates, state_names = 4, ("h", "c")
    projects = True

    def define(self):
        super().define()
        self.norm = nn.LayerNorm(4 * self.hidden_size)
        self.norm_cell = nn.LayerNorm(self.hidden_size)
        self.peephole = nn.Parameter(torch.randn(self.hidden_size))
        self.gain = nn.Parameter(torch.tensor(0.7))

    def update(self, input_gates, hidden_gates, state):
        i, f, g, o = (self.norm(input_gates) + hidden_gates).chunk(4, -1)
        c = torch.sigmoid(f + self.peephole * state[1] + 1) * state[1] + i.sigmoid() * g.tanh()
        h = torch.sigmoid(o) * torch.tanh(self.norm_cell(c)) * self.gain
        return h, (h, c)


class Odd(GatedLayer):
    """Everything else: three parts of a state, an output that is not the state, joined and cut gates, choices."""

    num_gates, state_names = 2, ("h", "a", "b")

    def update(self, input_gates, hidden_gates, state):
        size = self.hidden_size
        p, q = torch.cat([input_gates[:, :size], hidden_gates[:, size:]], -1).chunk(2, -1)
        mean = p.mean(-1, keepdim=True)
        h = torch.where(q > mean, functional.softplus(p), functional.silu(q) * 0.5) - torch.clamp(state[1], -0.3, 0.4)
        h = h + torch.maximum(p, state[2]) / (1 + q * q).sqrt() + torch.exp(-p.abs()) * torch.rsqrt(2 + p * p)
        h = h / (1 + mean * mean) + torch.reciprocal(3 + h * p)
        return 2 * h + mean, (h.tanh(), state[0], state[1])


def measure(layer: Any, backend: str, lengths: Tensor | None) -> list[Tensor]:
    torch.manual_seed(3)
    layer.zero_grad()
    inputs = torch.randn(13, 5, 4, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn_like(part).requires_grad_() for part in layer.initial_state(13))
    with kernels.use(backend):
        outputs, last = layer(inputs, state, lengths)
        with torch.no_grad():
            torch.manual_seed(4)
            layer(inputs, state, lengths)
    weights = torch.linspace(0.5, 1.5, outputs.numel(), dtype=torch.float64).view_as(outputs)
    ((outputs * weights).sum() + sum(part.square().sum() for part in last)).backward()
    gradients = [inputs.grad, *(part.grad for part in state), *(parameter.grad for parameter in layer.parameters())]
    return [outputs, *last, *gradients]  # type: ignore[list-item]


OPTIONS = {
    "plain": {},
    "no bias": {"bias": False},
    "dropouts": {"variational_dropout": 0.3, "zoneout": 0.2},
    "projection": {"projection_size": 5},
    "projection and zoneout": {"projection_size": 3, "zoneout": 0.2},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [2, 33])
@pytest.mark.parametrize("cell", [Coupled, Normed, Odd])
def test_a_translated_formula_is_the_formula(cell, size, options):
    if "projection" in options and (cell is not Normed or size < 5):
        pytest.skip("it has no projection")
    torch.manual_seed(1)
    layer = cell(4, size, **OPTIONS[options]).double()
    for lengths in (None, torch.tensor([5, 0, 3, 1, 2, 4, 5, 5, 1, 0, 2, 3, 4])):
        for got, expected in zip(measure(layer, "native", lengths), measure(layer, "reference", lengths), strict=True):
            assert (got - expected).abs().max() <= 1e-9 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("level", levels())
def test_every_level_runs_a_translated_formula(level):
    torch.manual_seed(1)
    layer = Odd(4, 37).double()
    with use_level(level):
        found = measure(layer, "native", None)
    for got, expected in zip(found, measure(layer, "reference", None), strict=True):
        assert (got - expected).abs().max() <= 1e-9 * max(1.0, expected.abs().max().item())


def runs_by(layer: GatedLayer) -> Any:
    (run,) = kernels.explain(layer, torch.zeros(2, 3, 4))
    return run


@pytest.mark.parametrize("cell", [Coupled, Normed, Odd])
def test_a_formula_runs_in_the_core_without_asking(cell):
    assert runs_by(cell(4, 5)).backend == "native"
    with torch.inference_mode():
        assert runs_by(cell(4, 5)).backend == "native"


def own(formula: Any) -> GatedLayer:
    class Own(GatedLayer):
        num_gates, state_names = 1, ("h",)

        def define(self):
            super().define()
            self.matrix = nn.Parameter(torch.eye(self.hidden_size))
            self.register_buffer("fixed", torch.full((self.hidden_size,), 0.5))

        def update(self, input_gates, hidden_gates, state):
            h = formula(self, input_gates + hidden_gates)
            return h, (h,)

    return Own(4, 6)


MAGIC = 1.5 * 2**23  # adding it to a float32 leaves no fraction


@pytest.mark.parametrize(
    "written",
    [
        lambda _, x: ((x + 45).exp()) / (x + 45).exp().sum(-1, keepdim=True),  # the divisor's square is no float32
        lambda _, x: ((x - 45).exp()) / (x - 45).exp().sum(-1, keepdim=True),
        lambda _, x: ((x * 4 + MAGIC) - MAGIC) / 4,
        lambda _, x: (x.relu() * 1e25 * 1e25).clamp(max=1.0),
    ],
)
def test_extreme_numbers_survive_the_translation(written):
    torch.manual_seed(1)
    layer, inputs = own(written), torch.randn(3, 2, 4)
    found = {}
    for backend in ("native", "reference"):
        layer.zero_grad()
        with kernels.use(backend):
            outputs, _ = layer(inputs)
        (outputs * torch.arange(6.0)).sum().backward()
        found[backend] = outputs, layer.weight_ih_l0.grad
    for got, expected in zip(found["native"], found["reference"], strict=True):
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_state_of_one_number_a_row_is_translated_or_refused():
    class Mean(GatedLayer):
        num_gates, state_names = 1, ("h", "m")

        def update(self, input_gates, hidden_gates, state):
            h = (input_gates + hidden_gates).tanh()
            return h, (h, h.mean(-1, keepdim=True))

    layer, inputs = Mean(4, 1), torch.randn(2, 3, 4)
    outputs, _ = layer(inputs)
    with kernels.use("reference"):
        expected, _ = layer(inputs)
    assert torch.allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (lambda _, x: x @ torch.ones(6, 6), "it calls mm"),
        (lambda self, x: x @ self.matrix, "it calls mm"),
        (lambda self, x: x * self.fixed, "neither an argument nor a parameter"),
        (lambda _, x: x * torch.rand(2, 6), "neither an argument nor a parameter"),
        (lambda _, x: x if x.sum() > 0 else -x, "it takes a mean or sum other than over all units|it calls"),
        (lambda _, x: x.tanh_(), "it calls tanh_"),
        (lambda _, x: x.softmax(-1), "it calls _softmax"),
        (lambda _, x: torch.cat([x[:, :2], x[:, 2:]], -1), "it cuts the gates elsewhere"),
        (lambda _, x: x**3, "it takes the power 3"),
    ],
)
def test_what_cannot_be_translated_says_why_and_runs_elsewhere(written, reason):
    run = runs_by(own(written))
    assert run.backend == "eager"
    assert re.search(f"cannot run this formula: .*({reason})", run.refused["native"])


def test_a_changed_number_of_a_layer_is_seen():
    class Scaled(GatedLayer):
        num_gates, state_names = 1, ("h",)
        scale = 1.0

        def update(self, input_gates, hidden_gates, state):
            h = self.scale * torch.tanh(input_gates + hidden_gates)
            return h, (h,)

    layer, inputs = Scaled(4, 5), torch.randn(2, 1, 4)
    with kernels.use("native"), torch.no_grad():
        first, _ = layer(inputs)
        layer.scale = 3.0
        second, _ = layer(inputs)
    assert torch.allclose(second, 3 * first)
