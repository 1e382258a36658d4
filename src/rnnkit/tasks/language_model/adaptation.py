"""Scoring that goes on learning from the text it reads: a cache of what was said, weights that follow, an n-gram.

Each is one more opinion about the next token. How far to trust it is fitted on validation text, never on the text that
is scored.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter as clock

import numpy as np
import torch
from torch import Tensor

from rnnkit.baselines.ngram import NGram
from rnnkit.data.batching import Chunk, Lanes, TokenStream
from rnnkit.kernels import State
from rnnkit.tasks.language_model.corpus import chunk_tensors, first_tokens, reset_fresh
from rnnkit.tasks.language_model.network import LanguageNetwork

_log = logging.getLogger("rnnkit.language-model")

CACHE_SIZE = 2000  # tokens remembered
SHARPNESSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)  # of the cache's softmax: tried on validation text
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)  # of dynamic evaluation
PULL = 0.02  # back to the trained weights, at each update
TUNING_TOKENS = 20_000  # of validation text
STATISTICS_CHUNKS = 100
SEGMENT = 20  # tokens between two updates of dynamic evaluation
LONG_SEGMENT = 128
MIXTURE_STEPS = 100
REPORT_SECONDS = 5.0


@dataclass(frozen=True)
class Adaptation:
    """What goes on learning while a text is scored, and how.

    Attributes:
        sharpness: Of the cache's softmax over similar moments; None has no cache.
        rate: Of dynamic evaluation; None keeps the weights.
    """

    sharpness: float | None = None
    rate: float | None = None


def opinions(
    network: LanguageNetwork,
    stream: TokenStream,
    adaptation: Adaptation,
    *,
    statistics: Mapping[str, Tensor] | None = None,
    sharpnesses: Sequence[float] = (),
) -> np.ndarray:
    """Read a text once, in order, and say how likely each opinion held each target.

    Args:
        network: In eval mode; dynamic evaluation changes its weights and puts them back.
        stream: The documents; the cache and the state begin anew with each, the weights follow through all.
        adaptation: What goes on learning.
        statistics: Of `gradient_statistics`; needed for dynamic evaluation.
        sharpnesses: Several caches to try at once, instead of the adaptation's.

    Returns:
        (opinions, targets) float64 probabilities: the network's first, then one a cache.
    """
    sharp = tuple(sharpnesses) or ((adaptation.sharpness,) if adaptation.sharpness is not None else ())
    cache = Cache(sharp, size=CACHE_SIZE)
    if adaptation.rate is None:
        with torch.inference_mode():
            return np.concatenate([held for _, _, held in _read(network, stream, cache, time=LONG_SEGMENT)], -1)
    assert statistics is not None
    dynamic = DynamicEvaluation(network, statistics, rate=adaptation.rate)
    parts = []
    try:
        for outputs, targets, held in _read(network, stream, cache, time=SEGMENT):
            parts.append(held)
            dynamic.learn(outputs, targets)
    finally:
        dynamic.undo()
    return np.concatenate(parts, -1)


def _read(
    network: LanguageNetwork, stream: TokenStream, cache: Cache, *, time: int
) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
    """Yield each segment's outputs (1, time, output_size), targets (1, time) and opinions (opinions, time)."""
    state: State | None = None
    done, reported = 0, clock()
    for chunk in one_lane(stream, time=time):
        inputs, targets = chunk_tensors(chunk, network.device)
        initial = network.stack.initial_state(1)
        state = initial if state is None else reset_fresh(state, initial, chunk.fresh)
        outputs, state = network.read(inputs, tuple(part.detach() for part in state))
        with torch.no_grad():
            logs = network.logits(outputs)[0].float().log_softmax(-1)
            own = logs.gather(1, targets[0][:, None])[:, 0].exp()  # (time,)
            if chunk.fresh[0]:
                cache.clear()
            remembered = cache.read(outputs[0].detach(), targets[0], own)  # (caches, time)
        yield outputs, targets, torch.cat([own[None], remembered]).double().cpu().numpy()
        done += targets.numel()
        if clock() - reported > REPORT_SECONDS:
            _log.info("read %s of %s tokens", f"{done:,}", f"{stream.targets:,}")
            reported = clock()


def one_lane(stream: TokenStream, *, time: int) -> Iterator[Chunk]:
    """Read a stream once from start to end, each document from a fresh state."""
    lane = Lanes(stream, batch=1, time=time, seed=0)
    while lane.epoch == 0:
        yield lane.next_chunk()


class Cache:
    """The continuous cache (Grave et al. 2017): p(w) is the share of like moments that w followed.

    p(w) = sum_i softmax_i(sharpness h . h_i) [w_i = w] over the last `size` moments i: h_i the last layer's output, w_i
    the token that came.

    Args:
        sharpnesses: One cache each; they remember the same.
        size: Moments remembered.
    """

    def __init__(self, sharpnesses: Sequence[float], *, size: int) -> None:
        self.sharpnesses, self.size = sharpnesses, size
        self.clear()

    def clear(self) -> None:
        """Forget."""
        self._outputs: Tensor | None = None
        self._tokens: Tensor | None = None

    def read(self, outputs: Tensor, tokens: Tensor, own: Tensor) -> Tensor:
        """Say how likely each token was by the moments before it, and remember them.

        Args:
            outputs: (time, output_size).
            tokens: (time,) that came after each.
            own: (time,) probabilities to give where nothing is remembered yet.

        Returns:
            (sharpnesses, time) probabilities.
        """
        if not self.sharpnesses:
            return own.new_empty(0, len(own))
        if self._outputs is None or self._tokens is None:
            moments, followers, known = outputs, tokens, 0
        else:
            moments, followers = torch.cat([self._outputs, outputs]), torch.cat([self._tokens, tokens])
            known = len(self._tokens)
        place = known + torch.arange(len(tokens), device=tokens.device)[:, None]  # (time, 1)
        index = torch.arange(len(followers), device=tokens.device)
        visible = (index < place) & (index >= place - self.size)  # (time, moments)
        likeness = (outputs @ moments.t()).masked_fill(~visible, -math.inf)
        same = followers == tokens[:, None]
        shares = [(likeness * sharpness).softmax(-1).nan_to_num().mul(same).sum(-1) for sharpness in self.sharpnesses]
        self._outputs, self._tokens = moments[-self.size :], followers[-self.size :]
        return torch.where(place[:, 0] > 0, torch.stack(shares), own)


def gradient_statistics(network: LanguageNetwork, stream: TokenStream) -> dict[str, Tensor]:
    """Return the root mean square of each weight's gradient on training text: how far it may move."""
    lanes = Lanes(stream, batch=32, time=SEGMENT, seed=0)
    squares = {name: torch.zeros_like(parameter) for name, parameter in network.named_parameters()}
    state: State | None = None
    for _ in range(STATISTICS_CHUNKS):
        chunk = lanes.next_chunk()
        inputs, targets = chunk_tensors(chunk, network.device)
        initial = network.stack.initial_state(len(inputs))
        outputs, after = network.read(inputs, initial if state is None else reset_fresh(state, initial, chunk.fresh))
        state = tuple(part.detach() for part in after)
        for name, gradient in _gradients(network, outputs, targets).items():
            squares[name] += gradient.square()
    return {name: square.div(STATISTICS_CHUNKS).sqrt() for name, square in squares.items()}


class DynamicEvaluation:
    """Weights that follow the text (Krause et al. 2018): after each segment a step that lowers its loss.

    w <- w - rate g / (s + mean s) + pull min(s / mean s, 1 / pull) (w0 - w), with g the gradient of the segment's mean
    loss, s the root mean square of training gradients, w0 the trained weight.

    Args:
        network: Its weights change until `undo`.
        statistics: s.
        rate: Of the steps.
    """

    def __init__(self, network: LanguageNetwork, statistics: Mapping[str, Tensor], *, rate: float) -> None:
        self.network, self.rate = network, rate
        self.trained = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        means = {name: root.mean().clamp(min=1e-12) for name, root in statistics.items()}
        self.scales = {name: 1 / (root + means[name]) for name, root in statistics.items()}
        self.pulls = {name: (PULL * root / means[name]).clamp(max=1.0) for name, root in statistics.items()}

    def learn(self, outputs: Tensor, targets: Tensor) -> None:
        """Take a step for a segment.

        Args:
            outputs: (1, time, output_size), with their graph.
            targets: (1, time).
        """
        gradients = _gradients(self.network, outputs, targets)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if name in gradients:
                    parameter.addcmul_(gradients[name], self.scales[name], value=-self.rate)
                    parameter.lerp_(self.trained[name], self.pulls[name])

    @torch.no_grad()
    def undo(self) -> None:
        """Put the trained weights back."""
        for name, parameter in self.network.named_parameters():
            parameter.copy_(self.trained[name])


def _gradients(network: LanguageNetwork, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    loss = network.loss(outputs, targets) / targets.numel()
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def nats_of(held: np.ndarray) -> np.ndarray:
    """Return -log, infinite where a rate too high has left no probability."""
    with np.errstate(divide="ignore"):
        return -np.log(held)


def mixture_weights(held: np.ndarray) -> np.ndarray:
    """Fit by expectation maximisation the weights of a mixture: (opinions, targets) -> (opinions,), of sum 1."""
    weights = np.full(len(held), 1 / len(held))
    for _ in range(MIXTURE_STEPS):
        shares = weights[:, None] * held
        weights = (shares / shares.sum(0)).mean(1)
    return weights


@dataclass(frozen=True)
class AdaptedScore:
    """A text scored by a mixture, and the constants that validation text chose.

    Attributes:
        nats: (targets,) float64.
        own: The same by the network alone, which dynamic evaluation also changes.
        adaptation: What went on learning.
        weights: Of each opinion, of sum 1.
    """

    nats: np.ndarray
    own: np.ndarray
    adaptation: Adaptation
    weights: dict[str, float]


def score_adapting(
    network: LanguageNetwork,
    stream: TokenStream,
    *,
    valid: TokenStream,
    train: TokenStream | None,
    cache: bool = False,
    ngram: NGram | None = None,
) -> AdaptedScore:
    """Score a text with all that goes on learning from it, its constants tuned on validation text.

    Args:
        network: In eval mode.
        stream: The text.
        valid: Validation text, of which the first TUNING_TOKENS are used.
        train: Training text, for dynamic evaluation; None keeps the weights.
        cache: Whether to have a continuous cache.
        ngram: One more opinion.

    Returns:
        The score.
    """
    head = first_tokens(valid, TUNING_TOKENS)
    statistics = None if train is None else gradient_statistics(network, train)
    adaptation = _tune(network, head, cache=cache, statistics=statistics)

    def held(text: TokenStream) -> np.ndarray:
        own = opinions(network, text, adaptation, statistics=statistics)
        return own if ngram is None else np.concatenate([own, np.exp(-ngram.score(text))[None]])

    weights = mixture_weights(held(head))
    names = ("model", *(("cache",) if cache else ()), *(("n-gram",) if ngram is not None else ()))
    found = held(stream)
    own, nats = nats_of(found[0]), nats_of(weights @ found)
    return AdaptedScore(nats, own, adaptation, dict(zip(names, weights.tolist(), strict=True)))


def _tune(
    network: LanguageNetwork, stream: TokenStream, *, cache: bool, statistics: Mapping[str, Tensor] | None
) -> Adaptation:
    """Choose the rate, then the cache's sharpness, by the likelihood of a text."""
    best = Adaptation()
    if statistics is not None:
        found = {}
        for rate in RATES:
            held = opinions(network, stream, Adaptation(rate=rate), statistics=statistics)[0]
            found[rate] = float(nats_of(held).mean())
            _log.info("dynamic evaluation at rate %g: %.4f nats a token of validation text", rate, found[rate])
        best = Adaptation(rate=min(found, key=found.__getitem__))
    if not cache:
        return best
    own, *remembered = opinions(network, stream, best, statistics=statistics, sharpnesses=SHARPNESSES)
    pairs = [np.stack([own, one]) for one in remembered]
    likelihoods = [np.log(mixture_weights(pair) @ pair).sum() for pair in pairs]
    return replace(best, sharpness=SHARPNESSES[int(np.argmax(likelihoods))])
