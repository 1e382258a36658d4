"""Gradients over distance, on stacks whose Jacobians are known."""

import math

import pytest
import torch

from rnnkit.diagnosing import gradient_reach
from rnnkit.layers import GRU, LSTM, RNN, ReluRNN, Stack

UNITS = 6


def relu_stack(factor: float) -> Stack:
    """h = max(0, x + factor h): with positive inputs the gradient k steps back is factor^k."""
    stack = Stack(ReluRNN, UNITS, UNITS)
    (layer,) = stack.layers[0]
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.eye(UNITS))
        layer.weight_hh_l0.copy_(factor * torch.eye(UNITS))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    return stack.eval()


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.05])
def test_the_factor_a_step_is_that_of_the_recurrent_matrix(factor: float):
    reach = gradient_reach(relu_stack(factor), torch.rand(3, 40, UNITS))
    assert reach.growth == pytest.approx(factor, rel=1e-3)
    expected = reach.norms[0] * factor ** torch.arange(40).double().numpy()
    assert reach.norms == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("factor", "memory"), [(0.8, 20), (1.0, 39)])
def test_the_memory_ends_where_a_hundredth_is_left(factor: float, memory: int):
    assert gradient_reach(relu_stack(factor), torch.rand(3, 40, UNITS)).memory == memory  # 0.8^20 = 0.0115


def test_rows_end_where_their_lengths_say():
    stack, inputs = relu_stack(0.9), torch.rand(2, 12, UNITS)
    short = gradient_reach(stack, inputs, torch.tensor([5, 5]))
    assert len(short.norms) == 5
    assert short.norms == pytest.approx(gradient_reach(stack, inputs[:, :5]).norms, rel=1e-6)


def test_distances_that_only_some_rows_have_are_means_over_those():
    mixed = gradient_reach(relu_stack(0.9), torch.rand(2, 12, UNITS), torch.tensor([12, 4]))
    assert mixed.norms == pytest.approx(mixed.norms[0] * 0.9 ** torch.arange(12).double().numpy(), rel=1e-3)


def test_an_open_gate_reaches_farther_than_a_plain_network():
    inputs = torch.randn(4, 60, UNITS)
    torch.manual_seed(1)
    plain = gradient_reach(Stack(RNN, UNITS, UNITS).eval(), inputs)
    gated = gradient_reach(Stack(LSTM, UNITS, UNITS, options={"forget_bias": 5.0}).eval(), inputs)
    assert gated.growth > plain.growth
    assert gated.memory > 2 * plain.memory


def test_nothing_is_left_of_a_layer_that_forgets_at_once():
    stack = Stack(GRU, UNITS, UNITS).eval()
    (layer,) = stack.layers[0]
    with torch.no_grad():
        for parameter in (layer.weight_hh_l0, layer.weight_ih_l0.chunk(3)[1]):
            parameter.zero_()
        layer.bias_ih_l0.chunk(3)[1].fill_(-1e4)  # the update gate is shut: h is the candidate
    reach = gradient_reach(stack, torch.rand(2, 10, UNITS))
    assert reach.memory == 0
    assert reach.growth == 0


def test_what_has_diverged_has_not_forgotten():
    stack = Stack(RNN, 1, 1)
    with torch.no_grad():
        stack.layers[0][0].weight_hh_l0.fill_(torch.nan)
    found = gradient_reach(stack, torch.ones(1, 5, 1))
    assert found.growth == math.inf
    assert found.memory == 4
