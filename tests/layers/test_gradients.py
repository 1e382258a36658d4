"""First and second derivatives of every layer against finite differences, at batch 2, time 3, hidden size 3."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnnkit import kernels
from rnnkit.errors import ConfigError
from rnnkit.kernels import BACKENDS
from rnnkit.layers import OPTIONS

pytestmark = pytest.mark.usefixtures("small_chunks")

# The two that only set starting values change no derivative.
CHOICES = [name for name in OPTIONS if name not in ("initialization", "forget_bias")]
EACH = [pytest.param(name, marks=[pytest.mark.slow] * (name == "triton")) for name in BACKENDS]  # that is interpreted
PAIRS = list(itertools.combinations(CHOICES, 2))


def check(layer_class: Any, backend: str, options: list[str], *, reverse: bool = False) -> None:
    """Differentiate by inputs, state and every parameter; the random masks are the same in each call."""
    values = {name: 2 if name == "projection_size" else OPTIONS[name].example for name in options}
    if any(not OPTIONS[name].takes(layer_class) for name in options):
        pytest.skip("refused, which the contract tests")
    layer: Any = layer_class(2, 3, reverse=reverse, **values).double()
    names, parameters = zip(*layer.named_parameters(), strict=True)
    for name, parameter in layer.named_parameters():
        if name.startswith("initial."):  # at zero a maximum may have two arguments, and then no derivative
            nn.init.normal_(parameter)
    state = tuple(torch.randn_like(part).requires_grad_() for part in layer.initial_state(2))
    inputs, lengths = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True), torch.tensor([3, 2])
    state = () if "learn_initial_state" in options else state

    def function(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        given, weights = rest[: len(state)], rest[len(state) :]
        outputs, last = functional_call(layer, dict(zip(names, weights, strict=True)), (inputs, given or None, lengths))
        return (outputs, *last)

    leaves = (inputs, *state, *(parameter.detach().clone().requires_grad_() for parameter in parameters))
    with kernels.use(backend):
        try:
            function(*leaves)
        except ConfigError as error:
            pytest.skip(str(error))
        if backend != "eager" and not kernels.explain(function, *leaves):
            pytest.skip("runs no kernel, so that one backend is all")
        # fast mode checks random directions; the second backward pass recomputes by the reference, hence nondet_tol
        assert torch.autograd.gradcheck(function, leaves, fast_mode=True, nondet_tol=1e-10)
        assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True, nondet_tol=1e-10)


@pytest.mark.parametrize("backend", EACH)
@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["forward", "reverse"])
def test_derivatives_of_a_layer_by_each_backend(layer_class, backend, reverse):
    check(layer_class, backend, [], reverse=reverse)


@pytest.mark.parametrize("option", CHOICES)
def test_derivatives_with_an_option(layer_class, option):
    check(layer_class, "eager", [option])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_derivatives_with_a_pair_of_options(layer_class, backend, pair):
    check(layer_class, backend, list(pair))
