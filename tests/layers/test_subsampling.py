"""Subsampling: padding does not reach the last step, chunks give the steps of the whole, state is plain tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.errors import ConfigError
from rnnkit.layers import Subsampling
from rnnkit.layers.subsampling import STRIDES

every_factor = pytest.mark.parametrize("factor", STRIDES)


def layer_of(factor: int) -> Subsampling:
    """A layer in float64, the same one each time."""
    torch.manual_seed(factor)
    return Subsampling(3, 4, factor=factor).double()


@every_factor
def test_it_is_the_sum_it_says_it_is(factor: int):
    layer, inputs = layer_of(factor), torch.randn(1, 11, 3, dtype=torch.float64)
    values = inputs[0].numpy()
    for stage in layer.stages:
        weight, stride = stage.weight.detach().numpy(), stage.stride  # type: ignore[union-attr]
        steps = -(-len(values) // stride)
        found = np.zeros((steps, 4))
        for step in range(steps):
            for place in range(weight.shape[2]):
                at = stride * (step + 1) - weight.shape[2] + place
                if 0 <= at < len(values):
                    found[step] += weight[:, :, place] @ values[at]
        values = torch.nn.functional.gelu(torch.from_numpy(found)).numpy()
    outputs, lengths = layer(inputs)
    assert lengths.tolist() == [len(values)]
    np.testing.assert_allclose(outputs[0].detach().numpy(), values, atol=1e-12)


@every_factor
def test_a_padded_row_ends_as_it_would_alone(factor: int):
    layer = layer_of(factor)
    rows = [torch.randn(length, 3, dtype=torch.float64) for length in (13, 5, 1)]
    padded = torch.full((3, 20, 3), float("nan"), dtype=torch.float64)
    for row, one in zip(padded, rows, strict=True):
        row[: len(one)] = one
    outputs, lengths = layer(padded, torch.tensor([13, 5, 1]))
    for row, length, one in zip(outputs, lengths.tolist(), rows, strict=True):
        alone, (expected,) = layer(one[None])
        assert length == int(expected) == -(-len(one) // factor)
        torch.testing.assert_close(row[:length], alone[0], rtol=0, atol=1e-12)
        assert not row[length:].any()


@every_factor
@settings(deadline=None, max_examples=20)
@given(length=st.integers(0, 40), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_chunks_give_the_steps_of_the_whole(factor: int, length: int, cuts: list[int]):
    layer, inputs = layer_of(factor), torch.randn(2, length, 3, dtype=torch.float64)
    state, found = layer.initial_state(2), []
    for chunk in np.split(np.arange(length), sorted(min(cut, length) for cut in cuts)):
        outputs, state = layer.advance(inputs[:, chunk], state)
        found.append(outputs)
    assert all(part.shape[0] == 2 and part.dim() == 2 for part in state)
    assert len(state) == len(layer.state_names)
    found.append(layer.finish(state))
    torch.testing.assert_close(torch.cat(found, 1), layer(inputs)[0], rtol=0, atol=1e-12)


def test_another_factor_is_refused():
    with pytest.raises(ConfigError, match="factor=5; expected one of 1, 2, 3, 4, 6, 8"):
        Subsampling(3, 4, factor=5)
