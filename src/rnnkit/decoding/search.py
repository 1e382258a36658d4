"""Draw sequences from a step function's next-token logits."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from rnnkit.errors import ConfigError, RunError

State = TypeVar("State")
Step = Callable[[torch.Tensor, State], tuple[torch.Tensor, State]]

# Below, float32 logits differ by more than exp can tell apart: greedy says the same. Above, all tokens are alike.
TEMPERATURES = (1e-4, 1e6)


@dataclass(frozen=True)
class Sampling:
    """How to choose the next token; the filters apply in the order of `filter_logits`.

    Example:
        >>> Sampling(temperature=0.8, top_p=0.9).top_p
        0.9
    """

    temperature: float = 1.0
    """Divides the logits: 0 always takes the likeliest token, 1 is the model's own distribution."""
    top_k: int | None = None
    """Keep the k likeliest tokens, and any as likely as the k-th; unset keeps all."""
    top_p: float | None = None
    """Keep the fewest tokens whose probabilities sum to p, in (0, 1] (Holtzman et al. 2019); unset keeps all."""
    min_p: float | None = None
    """Keep tokens at least this share as likely as the likeliest, in [0, 1] (Nguyen et al. 2024); unset keeps all."""
    repetition_penalty: float = 1.0
    """Makes tokens already seen less likely: divides their positive and multiplies their negative logits
    (CTRL, Keskar et al. 2019), in [0.01, 100]; 1 changes nothing."""
    no_repeat_ngram: int | None = None
    """Never complete the same n tokens in a row twice; unset allows it."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        temperature = self.temperature
        least, most = TEMPERATURES
        greedy_or_warm = temperature == 0 or least <= temperature <= most
        _require(greedy_or_warm, "temperature", temperature, f"0 (greedy) or a number in [{least}, {most:g}]")
        _require(self.top_k is None or _is_count(self.top_k), "top_k", self.top_k, "an integer >= 1")
        _require(self.top_p is None or 0 < self.top_p <= 1, "top_p", self.top_p, "a number in (0, 1]")
        _require(self.min_p is None or 0 <= self.min_p <= 1, "min_p", self.min_p, "a number in [0, 1]")
        penalty, ngram = self.repetition_penalty, self.no_repeat_ngram
        _require(0.01 <= penalty <= 100, "repetition_penalty", penalty, "a number in [0.01, 100]")
        _require(ngram is None or _is_count(ngram), "no_repeat_ngram", ngram, "an integer >= 1")


def _is_count(value: object) -> bool:
    """Whether the value is an integer of at least one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise with the option's name, value and range unless the claim holds."""
    if not holds:
        raise ConfigError(f"{name} got {value!r}, expected {expected}.")


def filter_logits(logits: torch.Tensor, history: Sequence[Sequence[int]], sampling: Sampling) -> torch.Tensor:
    """Remove the tokens that may not come next.

    The order is repetition penalty, no-repeat n-gram, temperature, top-k, min-p, top-p; each sees what the earlier
    ones left. With temperature 0 only the likeliest token is kept. The first two read the whole history each time.

    Args:
        logits: (batch, vocabulary_size); -inf marks tokens already removed.
        history: The tokens before this step, a list per row.
        sampling: The filters.

    Returns:
        Logits (batch, vocabulary_size) of the distribution to draw from, -inf where removed. At least one token is
        left in each row: an n-gram ban that would remove the last one is lifted for that row.
    """
    if sampling.repetition_penalty != 1:
        logits = _penalize_repetition(logits, history, sampling.repetition_penalty)
    if sampling.no_repeat_ngram is not None:
        logits = _ban_repeated_ngrams(logits, history, sampling.no_repeat_ngram)
    if sampling.temperature == 0:
        likeliest = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, -math.inf).scatter(-1, likeliest, logits.gather(-1, likeliest))
    if sampling.temperature != 1:
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / sampling.temperature  # the shift prevents overflow
    if sampling.top_k is not None:
        logits = _keep_top_k(logits, sampling.top_k)
    if sampling.min_p:
        logits = _keep_min_p(logits, sampling.min_p)
    if sampling.top_p is not None and sampling.top_p < 1:
        logits = _keep_top_p(logits, sampling.top_p)
    return logits


def _penalize_repetition(logits: torch.Tensor, history: Sequence[Sequence[int]], penalty: float) -> torch.Tensor:
    """Divide the positive and multiply the negative logits of the tokens in each row's history."""
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, tokens in enumerate(history):
        seen[row, list(set(tokens))] = True
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalized, logits)


def _ban_repeated_ngrams(logits: torch.Tensor, history: Sequence[Sequence[int]], length: int) -> torch.Tensor:
    """Remove the tokens that would complete an n-gram already in the row's history."""
    logits = logits.clone()
    for row, tokens in enumerate(history):
        banned = ngram_endings(tokens, length)
        kept = logits[row].clone()
        kept[banned] = -math.inf
        if (kept > -math.inf).any():
            logits[row] = kept
    return logits


def ngram_endings(tokens: Sequence[int], length: int) -> list[int]:
    """List the tokens that followed earlier occurrences of the last `length - 1` tokens."""
    prefix = list(tokens[len(tokens) - length + 1 :]) if length > 1 else []
    starts = range(len(tokens) - length + 1)
    return [tokens[start + length - 1] for start in starts if list(tokens[start : start + length - 1]) == prefix]


def _keep_top_k(logits: torch.Tensor, count: int) -> torch.Tensor:
    """Remove the tokens less likely than the `count`-th."""
    lowest = logits.topk(min(count, logits.shape[-1]), dim=-1).values[:, -1:]  # (batch, 1)
    return logits.masked_fill(logits < lowest, -math.inf)


def _keep_min_p(logits: torch.Tensor, share: float) -> torch.Tensor:
    """Remove the tokens less likely than `share` times the likeliest."""
    lowest = logits.amax(dim=-1, keepdim=True) + math.log(share)  # (batch, 1)
    return logits.masked_fill(logits < lowest, -math.inf)


def _keep_top_p(logits: torch.Tensor, mass: float) -> torch.Tensor:
    """Keep the fewest likeliest tokens whose probabilities sum to `mass`; of equal ones, the lower id first."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.double().softmax(dim=-1)
    mass_before = probabilities.cumsum(dim=-1) - probabilities
    mass_before[:, 0] = 0  # the likeliest always stays
    removed = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, mass_before >= mass)
    return logits.masked_fill(removed, -math.inf)


def row_generators(seed: int, batch: int) -> list[torch.Generator]:
    """Make one random generator per row, so that row i draws as a batch of one with seed `seed + i` does.

    Args:
        seed: Seed of the first row.
        batch: How many rows.

    Returns:
        The generators, on the CPU.
    """
    return [torch.Generator().manual_seed(seed + row) for row in range(batch)]


def sample(
    step: Step[State],
    *,
    state: State,
    first: torch.Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    banned: Collection[int] = (),
    history: Sequence[Sequence[int]] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Draw token after token, without end; the caller stops when it has enough.

    Each row draws one uniform number a step from its own generator, so it depends on no other row.

    Args:
        step: Maps ids (batch,) and a state to next-token logits (batch, vocabulary_size) and the next state.
        state: What the first step starts from.
        first: (batch,) ids the first step reads, the last of the prompt.
        sampling: How to choose.
        generators: One per row, as `row_generators` makes them.
        banned: Ids never to draw, such as `<unk>`.
        history: The tokens before `first`, a list per row, for the repetition filters; None means there are none.

    Yields:
        The ids (batch,) drawn and the natural logarithm of the model's own probability of each (batch,), before
        any filter.

    Raises:
        ConfigError: If there is not one generator per row, or every token is banned.
        RunError: If a logit is NaN or infinite, or a row has no token left.
    """
    if len(generators) != len(first):
        raise ConfigError(f"sample got {len(generators)} generators for {len(first)} rows, expected one per row.")
    remembers = sampling.repetition_penalty != 1 or sampling.no_repeat_ngram is not None
    earlier = history or [[] for _ in generators]
    seen = [[*row, token] for row, token in zip(earlier, first.tolist(), strict=True)]
    ids, drawn = first, 0
    while True:
        with torch.no_grad():
            logits, state = step(ids, state)
            ids, log_probabilities = draw(logits, seen, sampling, generators, banned=banned, drawn=drawn)
        yield ids, log_probabilities
        drawn += 1
        if remembers:
            for row, token in zip(seen, ids.tolist(), strict=True):
                row.append(token)


def draw(
    logits: torch.Tensor,
    seen: Sequence[Sequence[int]],
    sampling: Sampling,
    generators: Sequence[torch.Generator],
    *,
    banned: Collection[int] = (),
    drawn: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token of every row.

    Args:
        logits: (batch, vocabulary_size).
        seen: The tokens before it, a list per row, for the repetition filters.
        sampling: How to choose.
        generators: One per row.
        banned: Ids never to draw.
        drawn: How many were drawn before, for a message.

    Returns:
        The ids (batch,), and the natural logarithm of the model's own probability of each, before any filter.

    Raises:
        ConfigError: If every token is banned.
        RunError: If a logit is NaN or infinite, or a row has no token left.
    """
    _check_logits(logits, drawn)
    ids = _draw(filter_logits(_without(logits, banned), seen, sampling), generators)
    return ids, logits.log_softmax(dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def _check_logits(logits: torch.Tensor, drawn: int) -> None:
    """Raise where no distribution can be made of the logits."""
    best = logits.amax(dim=-1)  # (batch,), NaN where any logit of the row is
    if not best.isfinite().all():
        row = int((~best.isfinite()).nonzero()[0])
        raise RunError(
            f"Sampling got logits whose largest is {best[row].item()} in row {row} after {drawn} tokens, expected "
            "finite numbers: the model has diverged or its state is damaged; load an earlier checkpoint."
        )


def _without(logits: torch.Tensor, banned: Collection[int]) -> torch.Tensor:
    """Remove banned tokens."""
    if not banned:
        return logits
    allowed = logits.clone()
    allowed[:, list(banned)] = -math.inf
    if not (allowed > -math.inf).any(dim=-1).all():
        raise ConfigError(f"banned got {len(banned)} ids, which leaves no token to draw: ban fewer.")
    return allowed


def _draw(logits: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution, in float64."""
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)  # (batch, vocabulary_size)
    numbers = [torch.rand(1, generator=one, device=one.device, dtype=torch.float64).item() for one in generators]
    uniform = torch.tensor(numbers, dtype=torch.float64, device=logits.device).unsqueeze(-1)  # (batch, 1)
    # `right` skips tokens of probability 0; uniform < 1 keeps the product below the total, so an id always follows.
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(-1)  # (batch,)


class StopStrings:
    """Cut emitted text before the first stop string to complete, however the text is split into pieces.

    Args:
        stops: The strings to stop at; of several, the one that ends first counts, and of those the longest.

    Raises:
        ConfigError: If a stop string is empty.

    Example:
        >>> stops = StopStrings(["END"])
        >>> stops.push("one E")
        ('one ', False)
        >>> stops.push("ND two")
        ('', True)
    """

    def __init__(self, stops: Collection[str]) -> None:
        if "" in stops:
            raise ConfigError("Stop strings got '', expected at least one character each.")
        self._stops = tuple(stops)
        self._held = ""
        self._stopped = False

    def push(self, piece: str) -> tuple[str, bool]:
        """Take the next piece of text.

        Args:
            piece: Text just emitted.

        Returns:
            The text that is safe to show now, and whether a stop string was completed; after one, nothing more is
            shown.
        """
        if self._stopped:
            return "", True
        text = self._held + piece
        found = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._stops if stop in text]
        if found:
            self._held, self._stopped = "", True
            return text[: min(found)[1]], True
        safe = len(text) - self._partial_length(text)
        self._held = text[safe:]
        return text[:safe], False

    def finish(self) -> str:
        """End the text.

        Returns:
            What was held back because it could have begun a stop string.
        """
        rest, self._held = self._held, ""
        return rest

    def _partial_length(self, text: str) -> int:
        """Measure the longest end of the text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        lengths = range(min(longest, len(text)), 0, -1)
        return next((length for length in lengths if self._begins_stop(text[-length:])), 0)

    def _begins_stop(self, ending: str) -> bool:
        """Whether some stop string begins with this text."""
        return any(stop.startswith(ending) for stop in self._stops)
