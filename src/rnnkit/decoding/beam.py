"""Beam search: the likeliest sequences of a model that says one token after another, of many sentences at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from rnnkit.decoding.search import ngram_endings
from rnnkit.decoding.terms import Progress, share_beam
from rnnkit.errors import ConfigError, RunError

State = TypeVar("State")

LEAST_LOG = -1e4  # of a token that must be said, however unlikely


@dataclass(frozen=True)
class Beam:
    """How to search.

    Example:
        >>> Beam(size=1)  # greedy
        Beam(size=1, length_penalty=1.0, coverage_penalty=0.0, no_repeat_ngram=None, minimum_length=0)
    """

    size: int = 5
    """Hypotheses kept of each sentence; 1 takes the likeliest token each time."""
    length_penalty: float = 1.0
    """The log-probability is divided by ((5 + tokens) / 6) to this power (Wu et al. 2016); 0 favours short answers."""
    coverage_penalty: float = 0.0
    """Weight of the penalty on parts of the source that little attention was paid to (Wu et al. 2016)."""
    no_repeat_ngram: int | None = None
    """Never complete the same n tokens in a row twice; unset allows it."""
    minimum_length: int = 0
    """The fewest tokens of an answer."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, least in (("size", 1), ("no_repeat_ngram", 1), ("minimum_length", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"the beam's {name} is {value}; expected {least} or more")
        for name in ("length_penalty", "coverage_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"the beam's {name} is {getattr(self, name)}; expected 0 or more")


@dataclass(frozen=True)
class Hypothesis:
    """One answer.

    Attributes:
        tokens: Without the end.
        score: What answers are ranked by: the log-probability over the length's penalty, less that of the coverage.
        log_probability: Natural logarithm, of the end too.
        attention: (tokens + 1, source_time), what each token and the end looked at; None where nothing was kept.
    """

    tokens: tuple[int, ...]
    score: float
    log_probability: float
    attention: np.ndarray | None


class Scorer(ABC, Generic[State]):
    """A model as a search asks it: hypotheses of a sentence stand side by side."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, Tensor | None, State]:
        """Read a token more of each hypothesis.

        Args:
            tokens: (batch, beam).
            state: Of as many hypotheses.

        Returns:
            (batch, beam, vocabulary_size) log-probabilities of what comes next, (batch, beam, source_time) attention
            or None, and the next state.
        """

    @abstractmethod
    def select(self, state: State, rows: Tensor, parents: Tensor) -> State:
        """Keep some sentences, (kept,), and of each of them some hypotheses, (kept, beam), which may repeat."""


@dataclass(frozen=True)
class Limits:
    """What answers must and must not say.

    Attributes:
        banned: Tokens never said.
        prefixes: Of every sentence, tokens that its answers begin with; empty where there are none.
        terms: Of every sentence, sequences of tokens that its answers hold; likewise.
    """

    banned: Collection[int] = ()
    prefixes: Sequence[Sequence[int]] = ()
    terms: Sequence[Sequence[Sequence[int]]] = ()


def beam_search(
    scorer: Scorer[State],
    state: State,
    *,
    longest: Sequence[int],
    start: int,
    end: int,
    beam: Beam = Beam(),
    limits: Limits = Limits(),
    attends: bool = False,
) -> list[list[Hypothesis]]:
    """Search for the likeliest sequences.

    An end among the best `beam.size` continuations finishes a hypothesis; a sentence is done once it has as many
    finished ones. So a beam of 1 is greedy, and one that holds every sequence is an exhaustive search.

    Args:
        scorer: The model.
        state: Before the first token, of one hypothesis a sentence.
        longest: The most tokens of each sentence's answer, without its end.
        start: The token read first.
        end: The token that ends an answer.
        beam: How to search.
        limits: What answers must and must not say.
        attends: Whether to keep the attention.

    Returns:
        For each sentence at most `beam.size` answers, the best first, at least one. One that reaches its longest may
        lack a term.

    Raises:
        ConfigError: If a prefix is longer than its answer may be.
        RunError: If a log-probability is NaN.
    """
    for prefix, most in zip(limits.prefixes, longest, strict=False):
        if len(prefix) > most:
            raise ConfigError(f"the prefix has {len(prefix)} tokens; expected at most {most}, the longest answer")
    search = _Search(
        scorer,
        state,
        longest=longest,
        beam=beam,
        limits=limits,
        start=start,
        end=end,
        attends=attends or beam.coverage_penalty > 0,
    )
    with torch.inference_mode():
        while search.rows:
            search.advance()
    answers = [found or others for found, others in zip(search.finished, search.incomplete, strict=True)]
    return [sorted(one, key=lambda found: -found.score)[: beam.size] for one in answers]


class _Search(Generic[State]):
    """All sentences on their way.

    Attributes:
        rows: (going,) the sentences that are not done.
        tokens: (going, beam, written + 1) of each hypothesis, the start before them.
        scores: (going, beam) their log-probabilities.
        attention: (going, beam, written, source_time), if that is kept.
        progress: Of each sentence's hypotheses with the terms they must hold.
        finished: The answers of every sentence.
        incomplete: Likewise, those that lack a term.
    """

    def __init__(
        self,
        scorer: Scorer[State],
        state: State,
        *,
        longest: Sequence[int],
        beam: Beam,
        limits: Limits,
        start: int,
        end: int,
        attends: bool,
    ) -> None:
        self.scorer, self.state, self.beam, self.limits, self.end, self.attends = (
            scorer,
            state,
            beam,
            limits,
            end,
            attends,
        )
        self.longest = list(longest)
        self.rows = list(range(len(longest)))
        self.tokens = torch.full((len(longest), 1, 1), start)
        self.scores = torch.zeros(len(longest), 1)
        self.attention: Tensor | None = None
        self.progress = [[Progress.begin(limits.terms[row] if limits.terms else ())] for row in self.rows]
        self.finished: list[list[Hypothesis]] = [[] for _ in longest]
        self.incomplete: list[list[Hypothesis]] = [[] for _ in longest]

    @property
    def written(self) -> int:
        return self.tokens.shape[2] - 1

    def advance(self) -> None:
        """Write one token more."""
        logs, attention, self.state = self.scorer.step(self.tokens[..., -1], self.state)
        logs = logs.float().cpu()
        if logs.isnan().any():
            raise RunError(f"the search got NaN after {self.written} tokens: the model has diverged; train it again")
        if self.attends and attention is not None:
            new = attention.float().cpu()[:, :, None]  # (going, beam, 1, source_time)
            self.attention = new if self.attention is None else torch.cat([self.attention, new], dim=2)
        self._forbid(logs)
        scores, parents, tokens = self._choose(self.scores[..., None] + logs)
        ends = tokens == self.end
        for place, rank in ends[:, : self.beam.size].nonzero().tolist():
            if scores[place, rank] > -math.inf:
                self._finish(place, int(parents[place, rank]), float(scores[place, rank]))
        order = ends.to(torch.int8).argsort(dim=1, stable=True)[:, : self.beam.size]  # the best that go on
        scores = scores.masked_fill(ends, -math.inf)
        self._keep(*(part.gather(1, order) for part in (scores, parents, tokens)))

    def _forbid(self, logs: Tensor) -> None:
        """Make impossible what must not come next."""
        logs[..., list(self.limits.banned)] = -math.inf
        if self.written < self.beam.minimum_length:
            logs[..., self.end] = -math.inf
        for place, row in enumerate(self.rows):
            only = self._only(row)
            if only is not None:
                said = logs[place, :, only].clone()
                logs[place] = -math.inf
                logs[place, :, only] = said.clamp(min=LEAST_LOG)
                continue
            for hypothesis, progress in enumerate(self.progress[place]):
                if progress.missing:
                    logs[place, hypothesis, self.end] = -math.inf
                if self.beam.no_repeat_ngram is not None:
                    tokens = self.tokens[place, hypothesis, 1:].tolist()
                    logs[place, hypothesis, ngram_endings(tokens, self.beam.no_repeat_ngram)] = -math.inf

    def _only(self, row: int) -> int | None:
        """Return the token that a sentence must say next, if there is one: of its prefix, or its end."""
        prefix = self.limits.prefixes[row] if self.limits.prefixes else ()
        if self.written < len(prefix):
            return prefix[self.written]
        return self.end if self.written == self.longest[row] else None

    def _choose(self, totals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best continuations of each sentence: score, parent, token, (going, twice the beam or all) each."""
        size = totals.shape[-1]
        scores, places = totals.flatten(1).topk(min(2 * self.beam.size, totals[0].numel()))
        parents, tokens = places // size, places % size
        for place, progress in enumerate(self.progress):
            if any(one.missing for one in progress):
                chosen = self._shared(totals[place], places[place], progress)[: scores.shape[1]]
                scores[place], parents[place], tokens[place] = -math.inf, 0, 0
                for rank, (parent, token) in enumerate(chosen):
                    parents[place, rank], tokens[place, rank] = parent, token
                    scores[place, rank] = totals[place, parent, token]
        return scores, parents, tokens

    def _shared(self, totals: Tensor, places: Tensor, progress: Sequence[Progress]) -> list[tuple[int, int]]:
        """Choose continuations of one sentence so that some of every progress stay, and those that end: the best first.

        Args:
            totals: (beam, vocabulary_size) scores.
            places: The best of them, flattened.
            progress: Of its hypotheses.

        Returns:
            Parents and tokens.
        """
        size = totals.shape[1]
        found = {(place // size, place % size) for place in places.tolist()}
        found |= {(parent, token) for parent, one in enumerate(progress) for token in one.wanted()}
        ranked = sorted(found, key=lambda one: -float(totals[one]))
        ranked = [one for one in ranked if totals[one] > -math.inf]
        ending = [one for one in ranked[: self.beam.size] if one[1] == self.end]
        going = [one for one in ranked if one[1] != self.end]
        lefts = [progress[parent].after(token).left for parent, token in going]
        return [*ending, *(going[index] for index in share_beam(lefts, self.beam.size))]

    def _finish(self, place: int, parent: int, log_probability: float) -> None:
        """Take a hypothesis as an answer; one that lacks a term is put aside."""
        tokens = tuple(self.tokens[place, parent, 1:].tolist())
        attention = None if self.attention is None else self.attention[place, parent].numpy().copy()
        score = log_probability / ((5 + len(tokens) + 1) / 6) ** self.beam.length_penalty
        if self.beam.coverage_penalty and attention is not None:
            covered = attention.sum(0)
            score += self.beam.coverage_penalty * float(np.log(np.minimum(covered[covered > 0], 1.0)).sum())
        taken = self.incomplete if self.progress[place][parent].missing else self.finished
        taken[self.rows[place]].append(Hypothesis(tokens, score, log_probability, attention))

    def _keep(self, scores: Tensor, parents: Tensor, tokens: Tensor) -> None:
        """Go on with some hypotheses, (going, beam) each, of the sentences that are not done."""
        for place, row in enumerate(self.rows):
            if not (self.finished[row] or self.incomplete[row]) and not scores[place].isfinite().any():
                self._finish(place, 0, float(self.scores[place, 0]))  # every way on is forbidden
        going = [
            place
            for place, row in enumerate(self.rows)
            if len(self.finished[row]) < self.beam.size and scores[place].isfinite().any()
        ]
        kept = torch.tensor(going, dtype=torch.int64)
        scores, parents, tokens = scores[kept], parents[kept], tokens[kept]
        rows = kept[:, None]
        self.tokens = torch.cat([self.tokens[rows, parents], tokens[..., None]], dim=2)
        self.attention = None if self.attention is None else self.attention[rows, parents]
        self.progress = [
            [self.progress[place][parent].after(token) for parent, token in zip(before, said, strict=True)]
            for place, before, said in zip(going, parents.tolist(), tokens.tolist(), strict=True)
        ]
        self.scores, self.rows = scores, [self.rows[place] for place in going]
        if going:
            self.state = self.scorer.select(self.state, kept, parents)
