import math

import pytest

from rnnkit.errors import DataError
from rnnkit.metrics import language_model_metrics


def test_one_total_is_expressed_in_every_unit():
    metrics = language_model_metrics(math.log(2) * 120, tokens=40, characters=100, bytes=120, words=20)
    assert metrics == {
        "nats": pytest.approx(3 * math.log(2)),
        "nats_per_character": pytest.approx(1.2 * math.log(2)),
        "perplexity": pytest.approx(8),
        "word_perplexity": pytest.approx(64),
        "bits_per_character": pytest.approx(1.2),
        "bits_per_byte": pytest.approx(1),
    }


def test_a_certain_model_has_perplexity_1():
    metrics = language_model_metrics(0.0, tokens=1, characters=1, bytes=1, words=1)
    assert (metrics["perplexity"], metrics["bits_per_byte"]) == (1, 0)


def test_a_perplexity_too_large_for_a_float_is_infinite():
    metrics = language_model_metrics(1e6, tokens=10, characters=10, bytes=10, words=10)
    assert (metrics["perplexity"], metrics["nats"]) == (math.inf, 1e5)
    assert language_model_metrics(math.inf, tokens=1, characters=1, bytes=1, words=1)["perplexity"] == math.inf


@pytest.mark.parametrize("name", ["tokens", "characters", "bytes"])
@pytest.mark.parametrize("count", [0, -3])
def test_nothing_to_average_over_is_refused(name, count):
    counts = {"tokens": 1, "characters": 1, "bytes": 1, "words": 1} | {name: count}
    with pytest.raises(DataError, match=f"over {count} {name}"):
        language_model_metrics(1.0, **counts)


def test_a_text_of_white_space_has_no_perplexity_a_word():
    assert "word_perplexity" not in language_model_metrics(1.0, tokens=1, characters=1, bytes=1, words=0)


def test_a_total_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="NaN"):
        language_model_metrics(math.nan, tokens=1, characters=1, bytes=1, words=1)
