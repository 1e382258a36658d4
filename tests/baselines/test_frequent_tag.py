from pathlib import Path

import numpy as np
import pytest

from rnnkit.baselines.frequent_tag import FrequentTag
from rnnkit.errors import CheckpointError


@pytest.fixture
def fitted() -> FrequentTag:
    # "bank" is twice 0 and once 1, "run" once 2
    return FrequentTag.fit(["bank", "run"], np.array([0, 0, 0, 1]), np.array([0, 1, 0, 2]), num_tags=3)


def test_a_word_gets_the_tag_it_has_most_often_and_an_unknown_one_that_of_rare_words(fitted: FrequentTag):
    found = fitted.probabilities(["bank", "run", "zebra"])
    assert found.argmax(1).tolist() == [0, 2, 2]
    assert np.allclose(found.sum(1), 1)
    assert (found > 0).all()


def test_it_answers_the_same_after_saving(fitted: FrequentTag, tmp_path: Path):
    fitted.save(tmp_path)
    again = FrequentTag.load(tmp_path)
    assert np.array_equal(again.probabilities(["run", "x"]), fitted.probabilities(["run", "x"]))
    (tmp_path / "words.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        FrequentTag.load(tmp_path)
