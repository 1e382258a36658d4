"""Beam search on a toy model, against every sequence there is."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from rnnkit.decoding.beam import Beam, Hypothesis, Limits, Scorer, beam_search
from rnnkit.errors import ConfigError, RunError

END, SYMBOLS, LONGEST = 0, 4, 4


class Toy(Scorer[Tensor]):
    """Next-token log-probabilities that depend on the sentence and the last two tokens; its state is the last one."""

    def __init__(self, sentences: int, *, seed: int = 1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.logs = torch.randn(sentences, SYMBOLS, SYMBOLS, SYMBOLS, generator=generator).mul(1.5).log_softmax(-1)
        self.asked: list[int] = []

    def begin(self, sentences: int | None = None) -> Tensor:
        rows = torch.arange(len(self.logs) if sentences is None else sentences)
        return torch.stack([rows, torch.zeros_like(rows)], dim=-1)[:, None]  # (batch, beam, sentence and last token)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.asked.append(tokens.numel())
        logs = self.logs[state[..., 0], state[..., 1], tokens]
        attention = torch.full((*tokens.shape, 3), 0.25)
        attention[..., 0] = 0.5
        return logs, attention, torch.stack([state[..., 0], tokens], dim=-1)

    def select(self, state: Tensor, rows: Tensor, parents: Tensor) -> Tensor:
        return state[rows[:, None], parents]

    def log_probability(self, sentence: int, tokens: tuple[int, ...]) -> float:
        total, before, last = 0.0, 0, 0
        for token in (*tokens, END):
            total += float(self.logs[sentence, before, last, token])
            before, last = last, token
        return total


def search(toy: Toy, size: int, *, limits: Limits | None = None, **options: float) -> list[list[Hypothesis]]:
    beam = Beam(size, **options)  # type: ignore[arg-type]
    return beam_search(
        toy, toy.begin(), longest=[LONGEST] * len(toy.logs), start=0, end=END, beam=beam, limits=limits or Limits()
    )


def every_sequence() -> list[tuple[int, ...]]:
    return [one for length in range(LONGEST + 1) for one in itertools.product(range(1, SYMBOLS), repeat=length)]


def length_penalty(tokens: tuple[int, ...], power: float) -> float:
    return ((5 + len(tokens) + 1) / 6) ** power


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_a_beam_that_holds_every_sequence_is_an_exhaustive_search(power: float):
    toy = Toy(3)
    for sentence, found in enumerate(search(toy, 1000, length_penalty=power)):
        scores = {one: toy.log_probability(sentence, one) / length_penalty(one, power) for one in every_sequence()}
        assert [one.tokens for one in found] == sorted(scores, key=lambda one: -scores[one])
        assert [one.score for one in found] == pytest.approx(sorted(scores.values(), reverse=True), rel=1e-5)


def test_a_beam_of_one_is_greedy():
    toy = Toy(50)
    for sentence, (found,) in enumerate(search(toy, 1)):
        tokens, before, last = [], 0, 0
        while len(tokens) < LONGEST and (best := int(toy.logs[sentence, before, last].argmax())) != END:
            tokens.append(best)
            before, last = last, best
        assert found.tokens == tuple(tokens)
        assert found.log_probability == pytest.approx(toy.log_probability(sentence, found.tokens), rel=1e-5)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_sentences_do_not_change_one_another(size: int):
    toy = Toy(20)
    together = search(toy, size)
    for sentence in range(20):
        alone = Toy(20)
        alone.logs = toy.logs[sentence : sentence + 1]
        (found,) = search(alone, size)
        assert found == together[sentence]


def test_a_wider_beam_finds_likelier_answers_on_the_whole():
    toy = Toy(200)
    means = [sum(one[0].log_probability for one in search(toy, size, length_penalty=0.0)) for size in (1, 3, 10)]
    assert means[0] < means[1] < means[2]


def test_answers_begin_with_their_prefixes_and_hold_their_terms():
    toy = Toy(30)
    prefixes = [(1 + index % 3,) for index in range(30)]
    terms = [[(1 + index % 3, 1 + index % 2)] for index in range(30)]
    for found, prefix in zip(search(toy, 4, limits=Limits(prefixes=prefixes)), prefixes, strict=True):
        assert all(one.tokens[:1] == prefix for one in found)
    for found, (term,) in zip(search(toy, 6, limits=Limits(terms=terms)), terms, strict=True):
        assert all(term in itertools.pairwise(one.tokens) for one in found)


def test_of_all_answers_that_hold_a_term_a_wide_beam_finds_the_best():
    toy = Toy(10)
    term = (2, 3)
    for sentence, found in enumerate(search(toy, 500, limits=Limits(terms=[[term]] * 10), length_penalty=0.0)):
        holding = [one for one in every_sequence() if term in itertools.pairwise(one)]
        best = max(toy.log_probability(sentence, one) for one in holding)
        assert found[0].log_probability == pytest.approx(best, rel=1e-5)


def test_a_longest_answer_that_cannot_hold_its_term_is_given_all_the_same():
    (found,) = search(Toy(1), 3, limits=Limits(terms=[[(1, 2, 3, 1, 2, 3)]]))
    assert len(found[0].tokens) == LONGEST


def test_no_ngram_is_said_twice_and_no_banned_token_at_all():
    toy = Toy(60)
    assert all(2 not in one.tokens for found in search(toy, 3, limits=Limits(banned=[2])) for one in found)
    for found in search(toy, 3, no_repeat_ngram=1, minimum_length=3):
        for one in found:
            assert len(set(one.tokens)) == len(one.tokens) >= 3


def test_the_coverage_penalty_counts_what_was_looked_at_too_little():
    toy = Toy(1)
    plain, covering = search(toy, 1)[0][0], search(toy, 1, coverage_penalty=2.0)[0][0]
    assert covering.attention is not None
    steps = len(covering.tokens) + 1
    assert covering.attention.shape == (steps, 3)
    expected = 2.0 * (math.log(min(0.5 * steps, 1)) + 2 * math.log(min(0.25 * steps, 1)))
    assert covering.score - plain.score == pytest.approx(expected, abs=1e-6)


def test_sentences_that_are_done_are_not_asked_any_more():
    toy = Toy(8)
    toy.logs[:4] = torch.tensor([0.0, -30.0, -30.0, -30.0])  # these end at once
    search(toy, 1)
    assert toy.asked[0] == 8
    assert toy.asked[1] <= 4


def test_numbers_out_of_range_and_nan_are_refused():
    with pytest.raises(ConfigError, match="size is 0"):
        Beam(0)
    with pytest.raises(ConfigError, match="length_penalty is -1"):
        Beam(length_penalty=-1)
    with pytest.raises(ConfigError, match="the prefix has 9 tokens; expected at most 4"):
        search(Toy(1), 2, limits=Limits(prefixes=[[1] * 9]))
    toy = Toy(1)
    toy.logs[:] = math.nan
    with pytest.raises(RunError, match="NaN after 0 tokens"):
        search(toy, 2)
