"""BPE-dropout: the same text, cut differently."""

import numpy as np
import pytest
import torch

from rnnkit.data.samples import sample_path
from rnnkit.data.subword_dropout import DroppedMerges
from rnnkit.data.vocabulary import build_vocabulary


@pytest.fixture(scope="module")
def text() -> str:
    return sample_path("shakespeare").read_text()[:20_000]


def test_every_drawn_encoding_spells_its_text(text: str):
    vocabulary = build_vocabulary("bpe", [text], size=700)
    lines = [*text.split("\n")[:50], "Caf\u00e9 na\u00efve \U0001f600 \u4e2d\u6587, it's  3.14\tend", ""]
    dropped = DroppedMerges(vocabulary, lines, share=0.3, seed=1)
    for _ in range(3):
        assert [vocabulary.decode(ids) for ids in dropped.draw(range(len(lines)))] == lines


def test_nothing_left_out_is_the_plain_encoding(text: str):
    vocabulary = build_vocabulary("bpe", [text], size=700)
    dropped = DroppedMerges(vocabulary, [text], share=0.0, seed=1)
    assert np.array_equal(dropped.draw([0])[0], vocabulary.encode(text))


def test_more_left_out_gives_more_tokens_and_all_gives_bytes(text: str):
    vocabulary = build_vocabulary("bpe", [text], size=700)
    plain = len(vocabulary.encode(text))
    lengths = [len(DroppedMerges(vocabulary, [text], share=share, seed=1).draw([0])[0]) for share in (0.1, 0.5, 0.999)]
    assert plain < lengths[0] < lengths[1] < lengths[2]
    assert lengths[2] > 0.98 * len(text.encode())


def test_draws_follow_the_seeds(text: str):
    vocabulary = build_vocabulary("bpe", [text], size=700)
    found = []
    for seed, draw in ((1, 1), (1, 1), (1, 2), (2, 1)):
        dropped = DroppedMerges(vocabulary, [text], share=0.2, seed=seed)
        torch.manual_seed(draw)
        found.append(dropped.draw([0])[0].tolist())
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert found[0] != found[3]
