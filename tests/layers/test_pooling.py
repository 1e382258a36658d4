"""Pooling against sums and maxima by hand, with any padding, whole and as the sequence grows."""

import pytest
import torch

from rnnkit.errors import ConfigError
from rnnkit.layers import POOLINGS, Pooling

every_kind = pytest.mark.parametrize("kind", POOLINGS)
LENGTHS = torch.tensor([4, 1, 0, 3])


def by_hand(pooling: Pooling, rows: torch.Tensor) -> torch.Tensor:
    """Pool one sequence, (time, size), in plain steps."""
    if not len(rows):
        return torch.zeros(pooling.output_size, dtype=rows.dtype)
    found = {"last": rows[-1], "mean": sum(rows) / len(rows), "max": torch.stack(list(rows)).max(0).values}
    found["concat"] = torch.cat([found["last"], found["mean"], found["max"]])
    if pooling.kind == "attention":
        assert pooling.score is not None
        weights = torch.exp(20 * torch.tanh(pooling.score(rows)[:, 0] / 20))
        return (weights[:, None] * rows).sum(0) / weights.sum()
    return found[pooling.kind]


@every_kind
def test_it_equals_a_loop_over_each_sequence_alone(kind: str):
    pooling, outputs = Pooling(kind, 3).double(), torch.randn(4, 4, 3, dtype=torch.float64)
    found = pooling(outputs, LENGTHS)
    expected = torch.stack([by_hand(pooling, row[:length]) for row, length in zip(outputs, LENGTHS, strict=True)])
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@every_kind
def test_what_stands_in_the_padding_reaches_neither_result_nor_gradient(kind: str):
    pooling = Pooling(kind, 3).double()
    outputs = torch.randn(4, 4, 3, dtype=torch.float64)
    padded = outputs.clone()
    for row, length in zip(padded, LENGTHS, strict=True):
        row[length:] = torch.nan
    padded.requires_grad_()
    found = pooling(padded, LENGTHS)
    found.sum().backward()
    assert torch.equal(found, pooling(outputs, LENGTHS))
    assert torch.isfinite(padded.grad).all()


@every_kind
@pytest.mark.parametrize("cuts", [(), (1,), (2, 3), (1, 2, 3, 4)])
def test_a_growing_sequence_is_pooled_as_each_of_its_beginnings(kind: str, cuts: tuple[int, ...]):
    pooling, outputs = Pooling(kind, 3).double(), torch.randn(2, 5, 3, dtype=torch.float64)
    state, parts = pooling.initial_state(2, like=outputs), []
    assert len(state) == len(pooling.state_names)
    for chunk in outputs.tensor_split(cuts, dim=1):
        pooled, state = pooling.running(chunk, state)
        parts.append(pooled)
    expected = torch.stack([pooling(outputs[:, : step + 1]) for step in range(5)], dim=1)
    assert torch.allclose(torch.cat(parts, dim=1), expected, rtol=1e-10, atol=1e-12)


@every_kind
def test_no_step_changes_no_state(kind: str):
    pooling, outputs = Pooling(kind, 3), torch.randn(2, 4, 3)
    _, state = pooling.running(outputs, pooling.initial_state(2, like=outputs))
    pooled, after = pooling.running(outputs[:, :0], state)
    assert pooled.shape == (2, 0, pooling.output_size)
    assert all(torch.equal(a, b) for a, b in zip(state, after, strict=True))


def test_the_last_output_of_the_reverse_direction_is_that_of_the_first_step():
    outputs = torch.arange(24.0).reshape(2, 3, 4)
    found = Pooling("last", 4, bidirectional=True)(outputs, torch.tensor([3, 2]))
    assert found.tolist() == [[8, 9, 2, 3], [16, 17, 14, 15]]


def test_an_unknown_kind_is_refused_with_the_ones_there_are():
    with pytest.raises(ConfigError, match="pooling is 'sum'.*last, mean, max, attention, concat"):
        Pooling("sum", 3)  # type: ignore[arg-type]
