import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from rnnkit.errors import ConfigError
from rnnkit.layers import AdaptiveEmbedding, AdaptiveSoftmax, default_cutoffs, linear_cross_entropy, softmax

SIZE, SYMBOLS = 6, 40


def operands(rows: int = 23) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (rows, SIZE), (SYMBOLS, SIZE), (SYMBOLS,)
    features, weight, bias = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    targets = torch.randint(0, SYMBOLS, (rows,), generator=generator)
    return features.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets


@pytest.mark.parametrize("most", [2**24, 100, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_chunked_loss_and_its_gradients_are_those_of_all_logits_at_once(
    most: int, smoothing: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(softmax, "MOST_LOGITS", most)
    features, weight, bias, targets = operands()
    targets[[0, 7, 8]] = softmax.IGNORED
    expected = cross_entropy(
        linear(features, weight, bias), targets, ignore_index=-1, reduction="sum", label_smoothing=smoothing
    )
    found = linear_cross_entropy(features, weight, bias, targets, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(3 * found, (features, weight, bias)),
        torch.autograd.grad(3 * expected, (features, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_loss_of_no_valid_target_is_zero_and_so_are_its_gradients():
    features, weight, bias, targets = operands()
    total = linear_cross_entropy(features, weight, bias, torch.full_like(targets, softmax.IGNORED))
    gradients = torch.autograd.grad(total, (features, weight, bias))
    assert total == 0
    assert not any(gradient.any() for gradient in gradients)


def test_the_loss_under_bfloat16_is_near_that_in_float32():
    features, weight, bias, targets = (part.float() if part.is_floating_point() else part for part in operands())
    exact = linear_cross_entropy(features, weight, bias, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = linear_cross_entropy(features, weight, bias, targets)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=0)  # bfloat16 has 8 bits
    rounded.backward()  # gradients take the parameters' own type


def adaptive(cutoffs: tuple[int, ...] = (5, 15)) -> tuple[AdaptiveEmbedding, AdaptiveSoftmax]:
    torch.manual_seed(1)
    embedding = AdaptiveEmbedding(SYMBOLS, 8, cutoffs=cutoffs).double()
    made = AdaptiveSoftmax(embedding).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return embedding, made


def test_an_adaptive_softmax_is_a_distribution():
    embedding, made = adaptive()
    logs = made(torch.randn(2, 3, 8, dtype=torch.float64), embedding)
    assert logs.shape == (2, 3, SYMBOLS)
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))


def test_the_adaptive_loss_is_the_surprise_of_its_distribution():
    embedding, made = adaptive()
    features = torch.randn(4, SYMBOLS, 8, dtype=torch.float64)
    targets = torch.arange(SYMBOLS).repeat(4, 1)  # every cluster
    targets[0, 3] = softmax.IGNORED
    found = made.loss(features, targets, embedding)
    expected = cross_entropy(
        made(features, embedding).flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum"
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_a_batch_of_frequent_symbols_still_gives_every_parameter_a_gradient():
    embedding, made = adaptive()
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    made.loss(embedding(tokens), tokens, embedding).backward()
    assert all(p.grad is not None for p in (*embedding.parameters(), *made.parameters()))


def test_an_adaptive_embedding_projects_the_small_vectors_of_rare_symbols():
    embedding, _ = adaptive()
    vectors = embedding(torch.tensor([[0, 5, 39]]))[0]
    assert [table.shape for table in embedding.tables] == [(5, 8), (10, 2), (25, 1)]
    torch.testing.assert_close(vectors[0], embedding.tables[0][0])
    torch.testing.assert_close(vectors[1], embedding.tables[1][0] @ embedding.projections[0])
    torch.testing.assert_close(vectors[2], embedding.tables[2][24] @ embedding.projections[1])


@pytest.mark.parametrize("cutoffs", [(5, 5), (0, 5), (5, 40), (50,)])
def test_cutoffs_that_do_not_ascend_within_the_vocabulary_are_refused(cutoffs: tuple[int, ...]):
    with pytest.raises(ConfigError, match=str(cutoffs[-1])):
        AdaptiveEmbedding(SYMBOLS, 8, cutoffs=cutoffs)


@pytest.mark.parametrize("size", [64, 1000, 33_278, 250_000])
def test_default_cutoffs_fit_any_vocabulary(size: int):
    assert AdaptiveEmbedding(size, 16, cutoffs=default_cutoffs(size)).borders[-1] == size
