"""Variants of LSTM and GRU, against their papers' formulas."""

import numpy as np
import torch
from torch import Tensor

from rnnkit import GRU, LAYERS, ResetBeforeGRU, kernels


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_a_gru_that_resets_before_the_product_is_that_of_the_paper():
    layer, inputs = ResetBeforeGRU(3, 4).double(), torch.randn(2, 6, 3).double()
    matrices = (p.detach().numpy() for p in layer.parameters())
    w, recurrent, b, d = (np.split(matrix, 3) for matrix in matrices)
    h = np.zeros((2, 4))
    for x in inputs.numpy().transpose(1, 0, 2):
        r, z = (sigmoid(x @ w[gate].T + b[gate] + h @ recurrent[gate].T + d[gate]) for gate in (0, 1))
        h = (1 - z) * np.tanh(x @ w[2].T + b[2] + (r * h) @ recurrent[2].T + d[2]) + z * h
    assert np.abs(layer(inputs)[1][0].detach().numpy() - h).max() < 1e-12


def test_where_the_reset_gate_is_open_it_does_not_matter_where_it_stands():
    before, after = ResetBeforeGRU(3, 4), GRU(3, 4)
    with torch.no_grad():
        before.bias_ih_l0[:4] = 100
    after.load_state_dict(before.state_dict())
    inputs = torch.randn(2, 6, 3)
    assert torch.allclose(before(inputs)[0], after(inputs)[0], atol=1e-6)
    with torch.no_grad():
        before.bias_ih_l0[:4] = 0
    assert not torch.allclose(before(inputs)[0], after(inputs)[0], atol=1e-2)


class HalfOpen(ResetBeforeGRU):
    """A reset gate of a user's own."""

    def reset_gate(self, input_gates: Tensor, hidden_gates: Tensor) -> Tensor:
        return 0.5 + 0.5 * super().reset_gate(input_gates, hidden_gates)


def test_a_reset_gate_of_a_users_own_runs_by_the_reference_which_says_so():
    layer, inputs = HalfOpen(3, 4), torch.randn(2, 6, 3)
    (run,) = kernels.explain(layer, inputs)
    assert run.backend == "reference"
    assert "one formula alone" in run.refused["native"]
    assert "in the middle of a step" in run.refused["eager"]
    plain = ResetBeforeGRU(3, 4)
    plain.load_state_dict(layer.state_dict())
    assert not torch.allclose(layer(inputs)[0], plain(inputs)[0], atol=1e-4)


def test_a_unit_that_would_grow_for_ever_does_not():
    layer = LAYERS["indrnn"](1, 2)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.tensor([[1.5], [-1.5]]))
        layer.weight_ih_l0.zero_()
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    outputs, _ = layer(torch.zeros(1, 50, 1), (torch.tensor([[1.0, 1.0]]),))
    assert outputs[0, -1].tolist() == [1.0, 0.0]
