"""Sampling draws from the distribution it says, row by row."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnkit.decoding.search import Sampling, StopStrings, filter_logits, row_generators, sample
from rnnkit.errors import ConfigError, RunError

HALVES = [0.5, 0.25, 0.125, 0.125]


def logits_of(*rows: Sequence[float]) -> torch.Tensor:
    """Give the logits whose softmax these probabilities are."""
    return torch.tensor(rows, dtype=torch.float64).log()


def kept(logits: torch.Tensor, sampling: Sampling, history: Sequence[Sequence[int]] | None = None) -> list[set[int]]:
    """List the ids that survive the filters, for each row."""
    filtered = filter_logits(logits, history or [[]] * len(logits), sampling)
    return [set(torch.nonzero(row > -math.inf).flatten().tolist()) for row in filtered]


def copying_step(logits: torch.Tensor):
    """Make a step function that always answers these logits and counts its calls in the state."""

    def step(ids: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        return logits[:1].expand(len(ids), -1), state + 1

    return step


def draw(step: Any, count: int, batch: int = 1, seed: int = 0, **options: Any) -> torch.Tensor:
    """Draw `count` tokens for each row; (batch, count)."""
    first = torch.zeros(batch, dtype=torch.long)
    options = {"sampling": Sampling(), "generators": row_generators(seed, batch), "state": 0, **options}
    return torch.stack([ids for ids, _ in itertools.islice(sample(step, first=first, **options), count)], dim=1)


# Options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"temperature": -1}, "temperature got -1, expected 0 (greedy) or a number in [0.0001, 1e+06]"),
        ({"temperature": 1e-9}, "temperature got 1e-09"),
        ({"temperature": math.nan}, "temperature got nan"),
        ({"temperature": math.inf}, "temperature got inf"),
        ({"top_k": 0}, "top_k got 0, expected an integer >= 1"),
        ({"top_k": 2.5}, "top_k got 2.5"),
        ({"top_p": 0}, "top_p got 0, expected a number in (0, 1]"),
        ({"top_p": 1.1}, "top_p got 1.1"),
        ({"min_p": -0.1}, "min_p got -0.1, expected a number in [0, 1]"),
        ({"repetition_penalty": 0}, "repetition_penalty got 0, expected a number in [0.01, 100]"),
        ({"no_repeat_ngram": 0}, "no_repeat_ngram got 0, expected an integer >= 1"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], expected: str):
    with pytest.raises(ConfigError) as caught:
        Sampling(**options)
    assert expected in str(caught.value)


# Filters by hand


def test_no_filter_changes_nothing():
    logits = torch.randn(3, 7)
    assert torch.equal(filter_logits(logits, [[], [1], [2, 2]], Sampling()), logits)


def test_temperature_sharpens_the_distribution():
    filtered = filter_logits(logits_of([0.8, 0.2]), [[]], Sampling(temperature=0.5))
    torch.testing.assert_close(filtered.softmax(-1), torch.tensor([[16 / 17, 1 / 17]], dtype=torch.float64))


def test_a_low_temperature_does_not_overflow():
    filtered = filter_logits(torch.tensor([[1e30, 1e30, -1e30]]), [[]], Sampling(temperature=1e-4))
    assert filtered.softmax(-1).tolist() == [[0.5, 0.5, 0.0]]


def test_temperature_zero_keeps_the_first_of_the_likeliest():
    assert kept(torch.tensor([[1.0, 3.0, 3.0], [5.0, 0.0, 1.0]]), Sampling(temperature=0)) == [{1}, {0}]


def test_top_k_keeps_the_k_likeliest_and_their_equals():
    assert kept(logits_of(HALVES), Sampling(top_k=2)) == [{0, 1}]
    assert kept(logits_of(HALVES), Sampling(top_k=3)) == [{0, 1, 2, 3}]
    assert kept(logits_of(HALVES), Sampling(top_k=99)) == [{0, 1, 2, 3}]


def test_min_p_keeps_a_share_of_the_likeliest():
    assert kept(logits_of(HALVES), Sampling(min_p=0.3)) == [{0, 1}]
    assert kept(logits_of(HALVES), Sampling(min_p=1.0)) == [{0}]
    assert kept(logits_of(HALVES), Sampling(min_p=0.0)) == [{0, 1, 2, 3}]


def test_top_p_keeps_the_fewest_that_reach_the_mass():
    assert kept(logits_of(HALVES), Sampling(top_p=0.4)) == [{0}]
    assert kept(logits_of(HALVES), Sampling(top_p=0.6)) == [{0, 1}]
    assert kept(logits_of(HALVES), Sampling(top_p=0.8)) == [{0, 1, 2}]
    assert kept(logits_of(HALVES), Sampling(top_p=1.0)) == [{0, 1, 2, 3}]


def test_a_repeated_token_is_penalized_once_whatever_its_sign():
    logits = torch.tensor([[2.0, -2.0, 1.0]])
    filtered = filter_logits(logits, [[0, 0, 1]], Sampling(repetition_penalty=2.0))
    assert filtered.tolist() == [[1.0, -4.0, 1.0]]


def test_no_repeat_bans_the_token_that_would_complete_an_ngram():
    logits = torch.zeros(3, 4)
    history = [[1, 2, 3, 1, 2], [1, 2], []]
    assert kept(logits, Sampling(no_repeat_ngram=3), history) == [{0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3}]


def test_no_repeat_of_single_tokens_bans_all_seen():
    assert kept(torch.zeros(1, 4), Sampling(no_repeat_ngram=1), [[0, 3, 0]]) == [{1, 2}]


def test_a_ban_that_leaves_nothing_is_lifted():
    assert kept(torch.zeros(2, 3), Sampling(no_repeat_ngram=1), [[0, 1, 2], [0, 1]]) == [{0, 1, 2}, {2}]


def test_filters_do_not_change_their_input():
    logits = torch.randn(2, 5)
    before = logits.clone()
    filter_logits(logits, [[1, 1], [2]], Sampling(0.5, 3, 0.9, 0.1, 1.3, 1))
    assert torch.equal(logits, before)


# Filters against a loop


def loop_filter(logits: list[float], history: list[int], sampling: Sampling) -> numpy.ndarray:
    """Apply the filters to one row, a token at a time, in float64."""
    scores = numpy.array(logits)
    for token in set(history):
        scores[token] *= 1 / sampling.repetition_penalty if scores[token] > 0 else sampling.repetition_penalty
    length = sampling.no_repeat_ngram
    if length is not None:
        grams = {tuple(history[start : start + length]) for start in range(len(history) - length + 1)}
        beginning = tuple(history[len(history) - length + 1 :]) if length > 1 else ()
        banned = [token for token in range(len(scores)) if (*beginning, token) in grams]
        if len(banned) < len(scores):
            scores[banned] = -math.inf
    scores /= sampling.temperature
    if sampling.top_k is not None:
        scores[scores < sorted(scores)[-min(sampling.top_k, len(scores))]] = -math.inf
    weights = numpy.exp(scores - scores.max())
    if sampling.min_p is not None:
        weights[weights < sampling.min_p] = 0
    if sampling.top_p is not None:
        total, mass = weights.sum(), 0.0
        for token in sorted(range(len(weights)), key=lambda token: -weights[token]):
            if mass >= sampling.top_p:
                weights[token] = 0
            mass += weights[token] / total
    return weights / weights.sum()


@given(
    st.lists(st.floats(-4, 4), min_size=2, max_size=9, unique=True),
    st.lists(st.integers(0, 1), max_size=8),
    st.builds(
        Sampling,
        temperature=st.floats(0.2, 3),
        top_k=st.none() | st.integers(1, 12),
        top_p=st.none() | st.sampled_from([0.1234, 0.5678, 0.9012]),
        min_p=st.none() | st.sampled_from([0.0123, 0.2345]),
        repetition_penalty=st.floats(0.5, 2),
        no_repeat_ngram=st.none() | st.integers(1, 3),
    ),
)
def test_filters_agree_with_a_loop(logits: list[float], history: list[int], sampling: Sampling):
    filtered = filter_logits(torch.tensor([logits], dtype=torch.float64), [history], sampling)
    expected = torch.from_numpy(loop_filter(logits, history, sampling))
    # float64 throughout; 1e-9 allows for the order of a handful of sums
    torch.testing.assert_close(filtered.softmax(-1)[0], expected, atol=1e-9, rtol=0)


# Drawing


def test_draws_follow_the_distribution():
    probabilities = [0.6, 0.0, 0.3, 0.1]
    drawn = draw(copying_step(logits_of(probabilities)), 10_000)
    shares = torch.bincount(drawn[0], minlength=4) / 10_000
    assert shares[1] == 0
    # three standard deviations of a share of 0.6 in 10,000 draws are 0.0147
    torch.testing.assert_close(shares, torch.tensor(probabilities), atol=0.015, rtol=0)


def test_draws_follow_the_filtered_distribution():
    drawn = draw(copying_step(logits_of(HALVES)), 10_000, sampling=Sampling(top_k=2))
    shares = torch.bincount(drawn[0], minlength=4) / 10_000
    torch.testing.assert_close(shares, torch.tensor([2 / 3, 1 / 3, 0, 0]), atol=0.015, rtol=0)


def test_a_row_draws_as_it_would_alone():
    step = copying_step(logits_of([0.1, 0.2, 0.3, 0.4]))
    together = draw(step, 50, batch=4, seed=7)
    for row in range(4):
        assert torch.equal(together[row], draw(step, 50, batch=1, seed=7 + row)[0])
    assert len({tuple(row.tolist()) for row in together}) == 4


def test_greedy_needs_no_luck():
    step = copying_step(logits_of([0.2, 0.5, 0.3]))
    assert draw(step, 3, sampling=Sampling(temperature=0)).tolist() == [[1, 1, 1]]


def test_each_step_reads_the_token_drawn_before_and_the_state():
    read: list[tuple[int, int]] = []

    def counting_step(ids: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        read.append((int(ids[0]), state))
        return torch.nn.functional.one_hot((ids + 1) % 4, 4) * 100.0, state + 1

    assert draw(counting_step, 5).tolist() == [[1, 2, 3, 0, 1]]
    assert read == [(0, 0), (1, 1), (2, 2), (3, 3), (0, 4)]


def test_log_probabilities_are_the_models_own():
    step = copying_step(logits_of([0.75, 0.25]))
    first = torch.zeros(1, dtype=torch.long)
    options: dict[str, Any] = {"first": first, "state": 0, "generators": row_generators(0, 1)}
    ids, log_probabilities = next(sample(step, sampling=Sampling(temperature=0), **options))
    assert ids.tolist() == [0]
    assert log_probabilities.item() == pytest.approx(math.log(0.75))


def test_banned_ids_are_never_drawn():
    drawn = draw(copying_step(logits_of([0.9, 0.05, 0.05])), 200, banned={0})
    assert set(drawn[0].tolist()) == {1, 2}


def test_the_repetition_filters_see_the_prompt_and_what_was_drawn():
    step = copying_step(torch.zeros(1, 5))
    drawn = draw(step, 3, sampling=Sampling(no_repeat_ngram=1), history=[[4]])
    assert sorted(drawn[0].tolist()) == [1, 2, 3]  # 0 is the first id, 4 stands before it


def test_no_gradient_is_kept():
    weight = torch.zeros(1, 3, requires_grad=True)
    first = torch.zeros(1, dtype=torch.long)
    stream = sample(
        lambda ids, state: (weight * 1, state),
        state=None,
        first=first,
        sampling=Sampling(),
        generators=row_generators(0, 1),
    )
    assert not next(stream)[1].requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_numbers_stop_the_run(bad: float):
    def failing_step(ids: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        logits = torch.zeros(2, 3)
        logits[1, 2] = bad if state == 2 else 0.0
        return logits, state + 1

    with pytest.raises(RunError, match=f"largest is {bad} in row 1 after 2 tokens"):
        draw(failing_step, 5, batch=2)


def test_banning_everything_is_refused():
    with pytest.raises(ConfigError, match="banned got 2 ids"):
        draw(copying_step(torch.zeros(1, 2)), 1, banned=[0, 1])


def test_a_missing_generator_is_refused():
    with pytest.raises(ConfigError, match="1 generators for 2 rows"):
        draw(copying_step(torch.zeros(1, 2)), 1, batch=2, generators=row_generators(0, 1))


# Stop strings


def shown(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, bool]:
    """Push all pieces; return all text shown and whether it stopped."""
    matcher = StopStrings(stops)
    results = [matcher.push(piece) for piece in pieces]
    return "".join(text for text, _ in results) + matcher.finish(), any(stopped for _, stopped in results)


def test_a_stop_string_split_over_pieces_is_found():
    assert shown(["\n\n"], ["one\n", "\ntwo"]) == ("one", True)


def test_text_that_only_begins_a_stop_string_is_shown_later():
    matcher = StopStrings(["END"])
    assert matcher.push("the EN") == ("the ", False)
    assert matcher.push("ERGY") == ("ENERGY", False)
    assert matcher.push("E") == ("", False)
    assert matcher.finish() == "E"


def test_after_a_stop_nothing_is_shown():
    matcher = StopStrings(["x"])
    assert matcher.push("axb") == ("a", True)
    assert matcher.push("c") == ("", True)
    assert matcher.finish() == ""


def test_without_stop_strings_everything_is_shown_at_once():
    matcher = StopStrings([])
    assert matcher.push("abc") == ("abc", False)


def test_an_empty_stop_string_is_refused():
    with pytest.raises(ConfigError, match="Stop strings got ''"):
        StopStrings(["a", ""])


@given(st.text("ab", max_size=14), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_pieces_do_not_change_what_is_shown(text: str, stops: list[str], data: st.DataObject):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(text)])]
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if ends:
        before = min(text[: min(ends)].find(stop) for stop in stops if text[: min(ends)].endswith(stop))
        assert shown(stops, pieces) == (text[:before], True)
    else:
        assert shown(stops, pieces) == (text, False)
