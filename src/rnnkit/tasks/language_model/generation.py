"""Writing: token after token from the carried state, each at the same cost however long the text is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnkit.data.vocabulary import DOCUMENT, UNKNOWN
from rnnkit.decoding.search import Sampling, Step, StopStrings, row_generators, sample
from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.tasks.language_model.scoring import LONGEST_CHUNK

if TYPE_CHECKING:
    from rnnkit.tasks.language_model.task import LanguageModel


@torch.inference_mode()  # as a decorator it is off while the caller holds a piece; inside, it would stay on
def continuations(
    model: LanguageModel,
    prompt: str,
    *,
    samples: int,
    max_tokens: int,
    sampling: Sampling,
    stop: Sequence[str],
    seed: int,
) -> Iterator[tuple[int, str]]:
    """Continue a prompt several times at once; sample i alone, with seed + i, would be the same.

    Args:
        model: The language model.
        prompt: May be empty.
        samples: How many continuations.
        max_tokens: The longest continuation, in tokens.
        sampling: How tokens are drawn.
        stop: Strings that end a continuation, and are not part of it.
        seed: Of the first sample.

    Yields:
        The number of a sample and a piece of its text, as soon as it is certain.

    Raises:
        ConfigError: If a number is out of range.
    """
    for name, value in (("samples", samples), ("max_tokens", max_tokens)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; expected at least 1")
    history = [DOCUMENT, *model.vocabulary.encode(prompt).tolist()]
    state = _read(model, history[:-1])
    draws = sample(
        _step(model),
        state=tuple(part.expand(samples, -1).contiguous() for part in state),
        first=torch.full((samples,), history[-1], device=model.device),
        sampling=sampling,
        generators=row_generators(seed, samples),
        banned=never_written(model),
        history=[history[1:-1]] * samples,
    )
    writers = [Writer(model, stop) for _ in range(samples)]
    for _ in range(max_tokens):
        ids, _ = next(draws)
        for row, (writer, token) in enumerate(zip(writers, ids.tolist(), strict=True)):
            piece = writer.push(token)
            if piece:
                yield row, piece
        if all(writer.done for writer in writers):
            break
    yield from ((row, rest) for row, writer in enumerate(writers) if (rest := writer.finish()))


def never_written(model: LanguageModel) -> tuple[int, ...]:
    """Return the tokens that no text may hold."""
    return (UNKNOWN,) if model.separates_documents else (UNKNOWN, DOCUMENT)


class Writer:
    """Turns one sample's tokens into text, up to its end.

    Args:
        model: Its vocabulary.
        stop: Strings that end the text.
    """

    def __init__(self, model: LanguageModel, stop: Sequence[str]) -> None:
        self.decoder = model.vocabulary.decoder()
        self.stops = StopStrings(stop)
        self.done = False

    def push(self, token: int) -> str:
        """Take a token, and return the text that is certain now."""
        if self.done:
            return ""
        if token == DOCUMENT:
            return self.finish()
        text, self.done = self.stops.push(self.decoder.push(token))
        return text

    def finish(self) -> str:
        """End the text, and return what waited."""
        if self.done:
            return ""
        text, _ = self.stops.push(self.decoder.finish())
        self.done = True
        return text + self.stops.finish()


def _step(model: LanguageModel) -> Step[State]:
    def step(ids: Tensor, state: State) -> tuple[Tensor, State]:
        logits, state = model.network(ids[:, None], state)
        return logits[:, 0].float(), state  # (batch, vocabulary_size)

    return step


def _read(model: LanguageModel, ids: list[int]) -> State:
    state = model.network.stack.initial_state(1)
    for start in range(0, len(ids), LONGEST_CHUNK):
        part = torch.tensor([ids[start : start + LONGEST_CHUNK]], device=model.device)
        _, state = model.network.stack(model.network.embedding(part), state)
    return state
