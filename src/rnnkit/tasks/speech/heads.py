"""How tokens are said of what is heard: by CTC, or by a transducer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from rnnkit.data.tokens import DOCUMENT, UNKNOWN
from rnnkit.decoding.ctc import GreedyCTC, PrefixBeam
from rnnkit.decoding.fusion import NOTHING, Fusion
from rnnkit.decoding.hypotheses import BLANK, LEAST, Decoder
from rnnkit.decoding.transducer import Speaker, TransducerBeam
from rnnkit.kernels import State
from rnnkit.layers import LAYERS, Joiner, LockedDropout, Stack, guided_ctc_loss
from rnnkit.sequences import valid_mask
from rnnkit.tasks.speech.config import SpeechConfig

GUIDED_UPDATES = 100  # at the beginning of training


class SpeechBatch(NamedTuple):
    """Padded recordings.

    Attributes:
        frames: (batch, time, bands).
        lengths: (batch,) of the frames.
        tokens: (batch, tokens) int64, 0 past each end.
        counts: (batch,) of the tokens.
    """

    frames: Tensor
    lengths: Tensor
    tokens: Tensor
    counts: Tensor


class CTCHead(nn.Module):
    """A score of every token, and of the blank, at every step (Graves et al. 2006).

    The first updates are guided (`guided_ctc_loss`); `updates` counts them, so that a resumed run goes on alike.

    Args:
        size: Of what is heard.
        vocabulary_size: Tokens.
        tail: Steps behind the end of every recording.
    """

    def __init__(self, size: int, vocabulary_size: int, *, tail: int) -> None:
        super().__init__()
        self.tail = tail
        self.output = nn.Linear(size, vocabulary_size)
        self.register_buffer("updates", torch.zeros(1, dtype=torch.int64))

    def rows(self, outputs: Tensor) -> Tensor:
        """Turn what is heard, (batch, steps, size), into log-probabilities."""
        return self.output(outputs).float().log_softmax(-1)

    def loss(self, rows: Tensor, steps: Tensor, batch: SpeechBatch, *, label_smoothing: float) -> Tensor:
        """Add up the nats of all texts; see `SpeechNetwork.loss`."""
        if self.training and int(self.updates) < GUIDED_UPDATES:
            self.updates += 1
            total = guided_ctc_loss(rows, steps, batch.tokens, batch.counts, blank=BLANK, margin=self.tail)
        else:
            laid = rows.transpose(0, 1)  # (steps, batch, vocabulary_size), as torch's loss takes them
            total = ctc_loss(laid, batch.tokens, steps, batch.counts, blank=BLANK, reduction="sum")
        if not label_smoothing:
            return total
        valid = valid_mask(steps, rows.shape[1])
        return (1 - label_smoothing) * total - label_smoothing * (rows.mean(-1) * valid).sum()

    def decoder(self, beam: int, fusion: Fusion = NOTHING) -> Decoder:
        """Return a new decoder of rows."""
        return GreedyCTC() if beam == 1 else PrefixBeam(beam, fusion=fusion)

    def sayable(self, rows: Tensor) -> np.ndarray:
        """Return rows for a decoder, in which none is <unk>'s: nobody says it."""
        values = rows.cpu().numpy()
        values[..., UNKNOWN] = LEAST
        return values


class TransducerHead(nn.Module):
    """A second network remembers what was said, and both together say what comes next (Graves 2012).

    Args:
        size: Of what is heard.
        vocabulary_size: Tokens.
        config: Which layer remembers, and how large it is.
    """

    def __init__(self, size: int, vocabulary_size: int, config: SpeechConfig) -> None:
        super().__init__()
        self.heard = nn.Linear(size, config.joiner_size)
        self.embedding = nn.Embedding(vocabulary_size, config.joiner_size)
        self.memory = Stack(LAYERS[config.layer], config.joiner_size, config.joiner_size)
        self.dropout = LockedDropout(config.dropout)
        self.said = nn.Linear(self.memory.output_size, config.joiner_size, bias=False)
        self.joiner = Joiner(config.joiner_size, vocabulary_size)

    def rows(self, outputs: Tensor) -> Tensor:
        """Turn what is heard, (batch, steps, size), into what the joiner takes."""
        return self.heard(outputs).float()

    def remember(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read what was said, (batch, tokens) -> (batch, tokens, joiner_size), and the state."""
        outputs, after = self.memory(self.dropout(self.embedding(tokens)), state)
        return self.said(self.dropout(outputs)), after

    def loss(self, rows: Tensor, steps: Tensor, batch: SpeechBatch, *, label_smoothing: float) -> Tensor:
        """Add up the nats of all texts; see `SpeechNetwork.loss`."""
        del label_smoothing
        said, _ = self.remember(nn.functional.pad(batch.tokens, (1, 0), value=DOCUMENT))
        return self.joiner.loss(rows, said, batch.tokens, steps, batch.counts, blank=BLANK).sum()

    def decoder(self, beam: int, fusion: Fusion = NOTHING) -> Decoder:
        """Return a new decoder of rows."""
        return TransducerBeam(HeadSpeaker(self), beam, fusion=fusion)

    def sayable(self, rows: Tensor) -> np.ndarray:
        """Return rows for a decoder."""
        return rows.cpu().numpy()


class _Spoken(NamedTuple):
    """What was said, (joiner_size,), and the state of the memory."""

    said: np.ndarray
    state: State


class HeadSpeaker(Speaker):
    """The memory and the joiner of a head, one step at a time.

    Args:
        head: Whose.
    """

    def __init__(self, head: TransducerHead) -> None:
        self.head = head
        output = head.joiner.output
        self.weight = output.weight.detach().float().cpu().numpy().T.copy()
        self.bias = output.bias.detach().float().cpu().numpy().copy()
        self.bias[UNKNOWN] = LEAST  # nobody says it

    def begin(self) -> _Spoken:
        """Read DOCUMENT."""
        return self._read([DOCUMENT], None)[0]

    def advance(self, states: Sequence[_Spoken], tokens: Sequence[int]) -> list[_Spoken]:
        """Read a token more of each, all in one batch."""
        if not states:
            return []
        joined = tuple(torch.cat(parts) for parts in zip(*(one.state for one in states), strict=True))
        return self._read(tokens, joined)

    def _read(self, tokens: Sequence[int], state: State | None) -> list[_Spoken]:
        device = self.head.joiner.output.weight.device
        with torch.inference_mode():
            said, after = self.head.remember(torch.tensor(tokens, device=device)[:, None], state)
            rows = said[:, 0].float().cpu().numpy()
        return [_Spoken(rows[row], tuple(part[row : row + 1] for part in after)) for row in range(len(rows))]

    def log_probabilities(self, row: np.ndarray, states: Sequence[_Spoken]) -> np.ndarray:
        """Join what is heard with what was said, (states, tokens)."""
        scores = np.tanh(row + np.stack([one.said for one in states])) @ self.weight + self.bias
        scores -= scores.max(1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))
