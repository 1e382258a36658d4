"""Search for translations: what the networks say, asked by the beam or by drawing."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import islice

import torch
from torch import Tensor

from rnnkit.data.tokens import DOCUMENT
from rnnkit.decoding.beam import Hypothesis, Scorer
from rnnkit.decoding.search import Sampling, row_generators, sample
from rnnkit.tasks.translation.network import Decoding, TranslationNetwork


class NetworkScorer(Scorer[tuple[Decoding, ...]]):
    """Networks of one vocabulary, their probabilities averaged.

    Args:
        networks: At least one, in eval mode.
    """

    def __init__(self, networks: Sequence[TranslationNetwork]) -> None:
        self.networks = tuple(networks)

    def begin(self, sources: Tensor, lengths: Tensor) -> tuple[Decoding, ...]:
        """Read source sentences, (batch, source_time) ids, (batch,) lengths."""
        with torch.inference_mode():
            return tuple(
                network.encode(sources.to(network.device), lengths.to(network.device)) for network in self.networks
            )

    def step(self, tokens: Tensor, state: tuple[Decoding, ...]) -> tuple[Tensor, Tensor, tuple[Decoding, ...]]:
        """Read a token more of each hypothesis, as `Scorer.step`."""
        logs, weights, after = [], [], []
        for network, decoding in zip(self.networks, state, strict=True):
            features, looked, then = network.decode(tokens.reshape(-1, 1).to(network.device), decoding)
            logs.append(network.log_probabilities(features[:, 0]).unflatten(0, tokens.shape))
            weights.append(looked[:, 0].unflatten(0, tokens.shape))
            after.append(then)
        if len(logs) == 1:
            return logs[0], weights[0], tuple(after)
        mean = torch.stack(logs).logsumexp(0) - math.log(len(logs))
        return mean, torch.stack(weights).mean(0), tuple(after)

    def select(self, state: tuple[Decoding, ...], rows: Tensor, parents: Tensor) -> tuple[Decoding, ...]:
        """Keep some sentences and hypotheses, as `Scorer.select`."""
        return tuple(one.select(rows.to(one.memory.mask.device), parents.to(one.memory.mask.device)) for one in state)


def draw_translations(
    scorer: NetworkScorer,
    state: tuple[Decoding, ...],
    *,
    longest: Sequence[int],
    sampling: Sampling,
    seeds: Sequence[int],
    banned: Collection[int],
) -> list[list[Hypothesis]]:
    """Draw a translation of each sentence, token by token.

    Args:
        scorer: The networks.
        state: As it begins.
        longest: The most tokens of each.
        sampling: How to choose.
        seeds: Of each sentence.
        banned: Tokens never said.

    Returns:
        One hypothesis a sentence; its score is its log-probability.
    """

    def step(ids: Tensor, state: tuple[Decoding, ...]) -> tuple[Tensor, tuple[Decoding, ...]]:
        logs, weights, state = scorer.step(ids[:, None], state)
        looked.append(weights[:, 0].cpu())
        return logs[:, 0].cpu(), state

    looked: list[Tensor] = []
    first = torch.full((len(longest),), DOCUMENT)
    drawn = sample(
        step,
        state=state,
        first=first,
        sampling=sampling,
        generators=[one for seed in seeds for one in row_generators(seed, 1)],
        banned=banned,
    )
    tokens: list[list[int]] = [[] for _ in longest]
    totals, done = [0.0] * len(longest), [False] * len(longest)
    for ids, logs in islice(drawn, max(longest) + 1):
        for row, (token, log) in enumerate(zip(ids.tolist(), logs.tolist(), strict=True)):
            if not done[row]:
                totals[row] += log
                done[row] = token == DOCUMENT or len(tokens[row]) == longest[row]
                tokens[row] += [] if done[row] else [token]
        if all(done):
            break
    attention = torch.stack(looked, dim=1).numpy()  # (batch, time, source_time)
    return [
        [Hypothesis(tuple(one), total, total, attention[row, : len(one) + 1])]
        for row, (one, total) in enumerate(zip(tokens, totals, strict=True))
    ]
