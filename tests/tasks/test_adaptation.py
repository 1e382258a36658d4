import math

import numpy as np
import pytest
import torch

from rnnkit.baselines.ngram import NGram
from rnnkit.data.readers import Corpus, Document
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig, adaptation
from rnnkit.tasks.language_model.adaptation import Adaptation, Cache, mixture_weights, opinions
from rnnkit.tasks.language_model.scoring import score_tokens

TEXTS = ("the cat sat on the mat, the cat sat on the log. " * 6, "a second document, a second document. " * 5)


def corpus(*texts: str) -> Corpus:
    return Corpus(tuple(Document(text, "made up") for text in texts), ())


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(1)
    made = LanguageModel.prepare(corpus(*TEXTS), LanguageModelConfig(hidden_size=12, embedding_size=8))
    made.network.eval()
    return made


def test_without_adaptation_reading_in_order_scores_as_exact_scoring_does(model: LanguageModel):
    stream = model.encode(corpus(*TEXTS)).stream
    (own,) = opinions(model.network, stream, Adaptation())
    np.testing.assert_allclose(-np.log(own), score_tokens(model.network, stream), rtol=1e-4)


def test_the_cache_follows_its_formula_however_it_is_read():
    torch.manual_seed(1)
    outputs, tokens, own = torch.randn(30, 4), torch.randint(0, 3, (30,)), torch.rand(30)
    expected = [float(own[0])]
    for now in range(1, 30):
        seen = range(max(0, now - 7), now)
        weights = [math.exp(0.5 * float(outputs[now] @ outputs[then])) for then in seen]
        same = [weight for weight, then in zip(weights, seen, strict=True) if tokens[then] == tokens[now]]
        expected.append(sum(same) / sum(weights))
    for length in (30, 1, 4):
        cache = Cache((0.5,), size=7)
        parts = [cache.read(*rows) for rows in zip(*(x.split(length) for x in (outputs, tokens, own)), strict=True)]
        np.testing.assert_allclose(torch.cat(parts, -1)[0], expected, rtol=1e-5)


def test_a_cache_forgets_at_a_document_and_the_weights_do_not(model: LanguageModel):
    alone = model.encode(corpus(TEXTS[1])).stream
    after = model.encode(corpus(*TEXTS)).stream
    cached = Adaptation(sharpness=0.5)
    np.testing.assert_allclose(
        opinions(model.network, after, cached)[:, -len(alone.tokens) :],
        opinions(model.network, alone, cached),
        rtol=1e-4,
    )


def test_dynamic_evaluation_lowers_the_loss_of_a_text_that_repeats_and_puts_the_weights_back(model: LanguageModel):
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    data = model.encode(corpus(*TEXTS))
    statistics = adaptation.gradient_statistics(model.network, data.stream)
    static = -np.log(opinions(model.network, data.stream, Adaptation())[0]).mean()
    dynamic = opinions(model.network, data.stream, Adaptation(rate=1e-2), statistics=statistics)[0]
    assert -np.log(dynamic).mean() < 0.9 * static
    assert np.isclose(dynamic[: adaptation.SEGMENT], opinions(model.network, data.stream, Adaptation())[0][:20]).all()
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_mixture_weights_maximise_the_likelihood():
    rng = np.random.default_rng(1)
    held = rng.uniform(0.01, 1, (2, 500))
    held[1] *= 1.5
    grid = np.linspace(0.001, 0.999, 999)
    best = grid[np.argmax([np.log(share * held[0] + (1 - share) * held[1]).sum() for share in grid])]
    assert mixture_weights(held)[0] == pytest.approx(best, abs=0.01)
    assert mixture_weights(held).sum() == pytest.approx(1)


def test_all_opinions_together_beat_the_model_alone(model: LanguageModel):
    data = model.encode(corpus(*TEXTS))
    ngram = NGram.fit(data.stream, vocabulary_size=model.vocabulary.size, order=3)
    metrics, scored = model.score_adapting(data, valid=data, train=data, cache=True, ngram=ngram)
    assert metrics["nats"] < model.score(data)["nats"]
    assert list(scored.weights) == ["model", "cache", "n-gram"]
    assert sum(scored.weights.values()) == pytest.approx(1)
    assert scored.adaptation.sharpness in adaptation.SHARPNESSES
    assert scored.adaptation.rate in adaptation.RATES
