"""States of streams handed to clients: signed, so that what comes back is what was given."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from dataclasses import dataclass

from rnnkit.errors import StreamError

VERSION = 1
_HEAD = struct.Struct("<BI")  # version, length of the facts


@dataclass(frozen=True)
class Ticket:
    """A stream's state on its way to a client and back, perhaps to another worker.

    Attributes:
        model: Its name.
        seen: How many chunks the stream had taken.
        state: What `Stream.state` gave.
    """

    model: str
    seen: int
    state: bytes


class Tickets:
    """Signs tickets, and reads those that it, or another with the same key, has signed.

    Args:
        key: Secret; the same in all workers.
        most_bytes: Of a ticket that is read.

    Example:
        >>> tickets = Tickets(b"secret")
        >>> tickets.read(tickets.sign(Ticket("lm", 3, b"...")), model="lm").seen
        3
    """

    def __init__(self, key: bytes, *, most_bytes: int = 1_048_576) -> None:
        self._key, self._most_bytes = key, most_bytes

    def sign(self, ticket: Ticket) -> str:
        """Return the ticket as text."""
        facts = json.dumps({"model": ticket.model, "seen": ticket.seen}).encode()
        content = _HEAD.pack(VERSION, len(facts)) + facts + ticket.state
        return base64.b64encode(self._signature(content) + content).decode()

    def read(self, text: str, *, model: str) -> Ticket:
        """Read a ticket.

        Args:
            text: As `sign` returned it.
            model: Whose it must be.

        Returns:
            The ticket.

        Raises:
            StreamError: If it is too large, damaged, signed by another key, or of another version or model.
        """
        if len(text) > self._most_bytes:
            raise StreamError(f"the state has {len(text):,} characters; expected at most {self._most_bytes:,}")
        try:
            signed = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StreamError(f"the state is not base64 ({error}); send it as it was given") from None
        size = hashlib.sha256().digest_size
        signature, content = signed[:size], signed[size:]
        if len(content) < _HEAD.size or not hmac.compare_digest(signature, self._signature(content)):
            raise StreamError("the state was not signed by this server; send it as it was given, or begin anew")
        version, length = _HEAD.unpack_from(content)
        if version != VERSION:
            raise StreamError(f"the state has version {version}; this server reads {VERSION}: begin anew")
        facts = json.loads(content[_HEAD.size : _HEAD.size + length])
        if facts["model"] != model:
            raise StreamError(f"the state is of the model {facts['model']!r}; expected {model!r}")
        return Ticket(facts["model"], facts["seen"], content[_HEAD.size + length :])

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")
