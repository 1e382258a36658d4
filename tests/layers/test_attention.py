"""Attention of every kind: what is not there is not looked at, and each query is on its own."""

import pytest
import torch

from rnnkit.errors import ConfigError, ShapeError
from rnnkit.layers import ATTENTIONS
from rnnkit.layers.attention import AdditiveAttention, MultiHeadAttention

SIZE = 8


@pytest.fixture(params=ATTENTIONS)
def attention(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(1)
    return ATTENTIONS[request.param](SIZE, SIZE).double()


def test_padding_is_not_looked_at(attention):
    outputs, queries = torch.randn(3, 6, SIZE).double(), torch.randn(3, 4, SIZE).double()
    lengths = torch.tensor([6, 1, 3])
    contexts, weights = attention(queries, attention.remember(outputs, lengths))
    assert contexts.shape == (3, 4, attention.output_size)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 4), atol=1e-6)
    for row, length in enumerate(lengths.tolist()):
        assert (weights[row, :, length:] == 0).all()
        alone = attention(queries[row : row + 1], attention.remember(outputs[row : row + 1, :length]))[0]
        assert torch.allclose(alone[0], contexts[row], atol=1e-6)


def test_each_query_and_each_row_is_on_its_own(attention):
    outputs, queries = torch.randn(3, 6, SIZE).double(), torch.randn(3, 4, SIZE).double()
    memory = attention.remember(outputs, torch.tensor([6, 2, 3]))
    contexts, weights = attention(queries, memory)
    one = attention(queries[:, 2:3], memory)
    assert torch.allclose(one[0], contexts[:, 2:3], atol=1e-6)
    rows = torch.tensor([2, 0, 2])
    again = attention(queries[rows], memory.select(rows))
    assert torch.allclose(again[1], weights[rows], atol=1e-6)


def test_additive_attention_is_the_formula_of_its_paper():
    torch.manual_seed(2)
    attention = AdditiveAttention(3, 5)
    query, memory = torch.randn(3), torch.randn(4, 5)
    w, u, b = attention.of_query.weight, attention.of_memory.weight, attention.of_memory.bias
    scores = torch.stack([attention.score.weight[0] @ torch.tanh(w @ query + u @ one + b) for one in memory])
    weights = attention(query[None, None], attention.remember(memory[None]))[1]
    assert torch.allclose(weights[0, 0], scores.softmax(0), atol=1e-6)


def test_multi_head_attention_is_that_of_torch():
    torch.manual_seed(3)
    ours, theirs = MultiHeadAttention(SIZE, SIZE, heads=2), torch.nn.MultiheadAttention(SIZE, 2, bias=False)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.of_query.weight, ours.of_memory.weight]))
        theirs.out_proj.weight.copy_(ours.output.weight)
    queries, outputs = torch.randn(4, 2, SIZE), torch.randn(5, 2, SIZE)
    expected, weights = theirs(queries, outputs, outputs)
    found = ours(queries.transpose(0, 1), ours.remember(outputs.transpose(0, 1)))
    assert torch.allclose(found[0].transpose(0, 1), expected, atol=1e-6)
    assert torch.allclose(found[1], weights, atol=1e-6)


def test_scores_too_large_for_an_exponential_are_weighed(attention):
    outputs = 1e4 * torch.randn(1, 3, SIZE).double()
    contexts, _ = attention(1e4 * torch.randn(1, 2, SIZE).double(), attention.remember(outputs))
    assert contexts.isfinite().all()


def test_what_does_not_fit_is_refused(attention):
    with pytest.raises(ShapeError, match="no steps"):
        attention.remember(torch.zeros(2, 3, SIZE), torch.tensor([3, 0]))
    with pytest.raises(ConfigError, match="query_size=4 and memory_size=8"):
        ATTENTIONS["dot"](4, 8)
    with pytest.raises(ConfigError, match="heads=3; expected a divisor of query_size, 8"):
        MultiHeadAttention(8, 8, heads=3)
