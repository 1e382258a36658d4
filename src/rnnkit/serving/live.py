"""A client's stream on a WebSocket: chunks in, events out, and its state handed over when it must leave."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from rnnkit.errors import DataError, RnnkitError, StreamError
from rnnkit.serving.hosting import Host, Hosted
from rnnkit.serving.tickets import Ticket
from rnnkit.streaming import Stream

OVERLOADED, POLICY, RESTARTING, FAULT = 1013, 1008, 1012, 1011
BURST_SECONDS = 5.0  # that a client may be ahead of its rate
FAREWELL_SECONDS = 2.0  # that a client which does not read may hold up the end of its stream
MOST_REASON = 123  # bytes of a closing message
ACTIONS = ("push", "finish", "reset", "state", "restore", "ping")

_log = logging.getLogger("rnnkit.serving")


class LiveOptions(BaseModel):
    """Of every stream, beside those of its task."""

    save_seconds: float = Field(0.0, ge=0, description="Hand the state over so often, if there was a chunk; 0 never.")
    acknowledge: bool = Field(False, description="Answer every chunk, also where it causes no event.")
    changes: bool = Field(False, description="Of classifiers: send an event only where the label changes, or fires.")


class Live:
    """A stream that a client feeds.

    Args:
        websocket: Accepted.
        hosted: The model.
        host: Whose it is.
        stream: Begun.
        options: Of the connection.
    """

    def __init__(
        self, websocket: WebSocket, hosted: Hosted, host: Host, *, stream: Stream, options: LiveOptions
    ) -> None:
        self.websocket, self.hosted, self.host = websocket, hosted, host
        self.stream, self.options = stream, options
        self.seen = 0  # chunks taken
        self.began = self.last = self._saved = time.monotonic()
        self._allowed, self._label = BURST_SECONDS * host.limits.message_rate, ""
        self._chunks = host.meters.chunks.labels(hosted.name)
        self._turn = asyncio.Lock()  # a chunk is worked, or the stream is ended

    async def follow(self) -> None:
        """Take messages until the client goes."""
        while self.websocket.application_state is WebSocketState.CONNECTED:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            async with self._turn:
                if self.websocket.application_state is WebSocketState.CONNECTED:
                    await self._take(message)

    async def end(self, code: int, reason: str) -> None:
        """End the stream from this side: hand its state over, and close."""
        async with self._turn:
            if self.websocket.application_state is WebSocketState.CONNECTED:
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._send({"type": "state", "state": self._ticket(), "seen": self.seen, "reason": reason})
                    await self.websocket.close(code, reason)

    async def _take(self, message: Any) -> None:
        now = time.monotonic()
        limits = self.host.limits
        self._allowed = min(
            self._allowed + (now - self.last) * limits.message_rate, BURST_SECONDS * limits.message_rate
        )
        self._allowed -= 1
        self.last = now
        if self._allowed < 0:
            self.host.meters.refused.labels("message_rate").inc()
            await self._refuse(POLICY, f"more than {limits.message_rate:g} messages a second")
            return
        try:
            await self._act(message, now)
        except RnnkitError as error:
            await self._send({"type": "error", "error": str(error), "seen": self.seen})
        except WebSocketDisconnect:
            raise
        except Exception:  # noqa: BLE001 - one stream's fault must not end the others
            _log.exception("a stream of %s failed", self.hosted.name)
            self.host.meters.dropped.labels(self.hosted.name).inc()
            await self._refuse(FAULT, "the server failed at this stream; begin a new one")

    async def _act(self, message: Any, now: float) -> None:
        """Do what a message asks for."""
        binary = message.get("bytes")
        if binary is not None:
            await self._push(self.hosted.wire.bytes_chunk(self.hosted.task, binary), now)
            return
        name, value = _action(message.get("text") or "")
        if name == "push":
            await self._push(self.hosted.wire.chunk(self.hosted.task, value), now)
        elif name == "finish":
            events = await self.host.engine.work(self.stream.ending())
            await self._send({"type": "finished", "seen": self.seen, "events": events})
        elif name == "reset":
            self.stream.reset()
            self.seen, self._label = 0, ""
            await self._send({"type": "reset"})
        elif name == "state":
            await self._send({"type": "state", "state": self._ticket(), "seen": self.seen})
        elif name == "restore":
            await self._restore(value)
        else:
            await self._send({"type": "pong", "pong": value})

    async def _push(self, chunk: Any, began: float) -> None:
        events = await self.host.engine.work(self.stream.taking(chunk))
        self.seen += 1
        self._chunks.observe(time.monotonic() - began)
        events = self._changes(events) if self.options.changes else events
        if events or self.options.acknowledge:
            await self._send({"type": "events", "seen": self.seen, "events": events})
        if self.options.save_seconds and began - self._saved >= self.options.save_seconds:
            self._saved = began
            await self._send({"type": "state", "state": self._ticket(), "seen": self.seen})

    async def _restore(self, value: Any) -> None:
        if not isinstance(value, str):
            raise StreamError("restore holds no text; expected the state as it was given")
        ticket = self.host.tickets.read(value, model=self.hosted.name)
        self.stream.restore(ticket.state)
        self.seen = ticket.seen
        await self._send({"type": "restored", "seen": self.seen})

    def _changes(self, events: list[Any]) -> list[Any]:
        """Keep the events of classifiers whose label is another than before, or that fire."""
        kept = []
        for event in events:
            label = getattr(event, "label", None)
            if label is None or label != self._label or getattr(event, "fired", False):
                kept.append(event)
            self._label = label or ""
        return kept

    def _ticket(self) -> str:
        return self.host.tickets.sign(Ticket(self.hosted.name, self.seen, self.stream.state()))

    async def _refuse(self, code: int, reason: str) -> None:
        await _refuse(self.websocket, code, reason)

    async def _send(self, message: dict[str, Any]) -> None:
        await self.websocket.send_text(orjson.dumps(message).decode())


def _action(text: str) -> tuple[str, Any]:
    """Read a message: an object with one key, which says what to do."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DataError(f'the message is no JSON ({error}); expected an object, as {{"push": ...}}') from None
    if not isinstance(message, dict) or len(message) != 1 or next(iter(message)) not in ACTIONS:
        raise DataError(f"the message is {text[:60]}; expected an object with one key of {', '.join(ACTIONS)}")
    return next(iter(message.items()))


class Lives:
    """All live streams of a worker, and who ends those that are idle or old.

    Args:
        host: Whose they are.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self._lives: set[Live] = set()

    async def follow(self, websocket: WebSocket, hosted: Hosted, options: LiveOptions, own: BaseModel) -> None:
        """Accept a client and follow its stream, or refuse it where there is no room.

        Args:
            websocket: Not accepted yet.
            hosted: The model.
            options: Of the connection.
            own: Options of the task's streams.
        """
        host = self.host
        await websocket.accept()
        why = "the server is stopping" if host.draining else f"{host.limits.max_streams} streams live already"
        if host.draining or not host.seats.take():
            host.meters.refused.labels("max_streams").inc()
            await _refuse(websocket, OVERLOADED, f"{why}: try again later")
            return
        gauge = host.meters.streams.labels(hosted.name)
        gauge.inc()
        host.engine.streams += 1
        live: Live | None = None
        try:
            stream = hosted.wire.stream(hosted.task, own)
            live = Live(websocket, hosted, host, stream=stream, options=options)
            self._lives.add(live)
            await websocket.send_text(orjson.dumps({"type": "ready", "model": hosted.name}).decode())
            await live.follow()
        except RnnkitError as error:  # options that do not fit the model
            await _refuse(websocket, POLICY, str(error))
        except WebSocketDisconnect:
            pass
        finally:
            gauge.dec()
            host.engine.streams -= 1
            host.seats.leave()
            if live is not None:
                self._lives.discard(live)

    async def watch(self) -> None:
        """End streams that are idle, or too old, as long as the server lives."""
        limits = self.host.limits
        pause = min(1.0, limits.idle_seconds / 4, limits.stream_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            now = time.monotonic()
            for live in list(self._lives):
                if now - live.last > limits.idle_seconds:
                    await self._end(live, "idle", f"nothing came for {limits.idle_seconds:g} seconds")
                elif now - live.began > limits.stream_seconds:
                    await self._end(live, "stream_seconds", f"it lived for {limits.stream_seconds:g} seconds")

    async def _end(self, live: Live, limit: str, reason: str) -> None:
        self.host.meters.refused.labels(limit).inc()
        await _quietly(live.end(POLICY, reason))
        self._lives.discard(live)

    async def drain(self) -> None:
        """Hand every client its state, and close: the server stops."""
        self.host.draining = True
        await asyncio.gather(*(_quietly(live.end(RESTARTING, "the server stops")) for live in list(self._lives)))


async def _refuse(websocket: WebSocket, code: int, reason: str) -> None:
    await websocket.send_text(orjson.dumps({"type": "error", "error": reason, "code": code}).decode())
    await websocket.close(code, reason.encode()[:MOST_REASON].decode(errors="ignore"))


async def _quietly(ending: Any) -> None:
    """Wait for the end of a stream whose client may be gone, or not reading."""
    try:
        await ending
    except (TimeoutError, RuntimeError, WebSocketDisconnect) as error:
        _log.debug("a stream ended without its client: %r", error)


def read_options(kind: type[BaseModel], parameters: dict[str, Any]) -> BaseModel:
    """Check options of a stream.

    Args:
        kind: Which there are.
        parameters: As given.

    Returns:
        The options.

    Raises:
        DataError: If one is unknown or out of range.
    """
    try:
        return kind.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{place}: {first['msg']}; got {str(first['input'])[:60]!r}") from None
