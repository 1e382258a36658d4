"""What a server allows: every queue, message and stream has an end."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from rnnkit.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds of a server; what is beyond is refused, and says by what.

    Example:
        >>> Limits(max_streams=8).max_streams
        8
    """

    max_streams: int = 256
    """Live streams at once, over all models and workers; one more is refused with the WebSocket code 1013."""
    max_requests: int = 32
    """Requests that wait or are being answered, of a worker; one more is refused with 429."""
    max_body_bytes: int = 8_388_608
    """Of a request; a larger one is refused with 413."""
    max_message_bytes: int = 1_048_576
    """Of a stream's message; a larger one closes the stream with the code 1009."""
    max_inputs: int = 256
    """Inputs of one request; more are refused with 422."""
    max_tokens: int = 2_000
    """That one request may have written; more are refused with 422."""
    max_beam: int = 32
    """Hypotheses that a client may ask for."""
    message_rate: float = 200.0
    """Messages a second of a stream; it may be five seconds ahead, then it is closed with the code 1008."""
    idle_seconds: float = 60.0
    """A stream that sends nothing for so long is closed with the code 1008, its state handed to it first."""
    stream_seconds: float = 86_400.0
    """A stream that lives longer is closed with the code 1008, its state handed to it first."""
    drain_seconds: float = 10.0
    """What a stopping server waits for requests and streams to end."""
    batch_milliseconds: float = 5.0
    """What the first chunk of a batch may wait for others."""

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in fields(self):
            value = getattr(self, field.name)
            least = (
                0 if field.name in ("batch_milliseconds", "drain_seconds") else 1 if isinstance(value, int) else 1e-3
            )
            if not least <= value < math.inf:
                raise ConfigError(f"{field.name} is {value}; expected {least:g} or more")
