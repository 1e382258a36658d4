"""Clients of a server: requests, and streams that go on where a connection breaks."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from rnnkit.errors import ConfigError, DataError, RunError

POLICY, TOO_LARGE = 1008, 1009
TRIES, FIRST_PAUSE = 8, 0.1  # seconds, doubled with every try
MOST_KEPT = 10_000  # chunks since the last saved state


class AsyncClient:
    """Asks a server.

    Args:
        url: As http://127.0.0.1:8000.
        api_key: Where the server wants one.
        timeout: Seconds that an answer may take.

    Raises:
        ConfigError: If the address is none.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"the address is {url!r}; expected http://HOST:PORT, or https")
        self._url = url.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=timeout)

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let the connections go."""
        await self.close()

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """List the models, and what they take."""
        return _answer(await self._asked("GET", "/v1/models"))["models"]

    async def predict(self, model: str, inputs: Sequence[Any] | None, **options: Any) -> list[dict[str, Any]]:
        """Answer inputs.

        Args:
            model: Its name.
            inputs: As the task takes them; None asks a forecaster for all its series.
            **options: Of the request, as `candidates`.

        Returns:
            An answer each.

        Raises:
            DataError: If the server refuses the request.
            RunError: If it cannot answer.
        """
        body = {"inputs": inputs if inputs is None else list(inputs), **options}
        return _answer(await self._asked("POST", f"/v1/models/{model}/predict", body))["results"]

    async def generate(self, model: str, prompt: str = "", **options: Any) -> AsyncIterator[dict[str, Any]]:
        """Have a text written on.

        Args:
            model: Name of a language model.
            prompt: What it begins with.
            **options: As `temperature` and `max_tokens`.

        Yields:
            A token each, and at last what has `done`.

        Raises:
            DataError: If the server refuses the request.
            RunError: If it cannot answer.
        """
        body = {"prompt": prompt, **options, "stream": True}
        async with self._http.stream("POST", f"/v1/models/{model}/generate", json=body) as response:
            if not response.is_success:
                await response.aread()
                _answer(response)
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    @asynccontextmanager
    async def stream(self, model: str, *, save_seconds: float = 1.0, **options: Any) -> AsyncIterator[AsyncStream]:
        """Open a stream, which goes on elsewhere where its connection breaks.

        Args:
            model: Its name.
            save_seconds: How often the server hands over the state to go on from.
            **options: Of the task's streams.

        Yields:
            The stream.

        Raises:
            DataError: If the server refuses the options.
            RunError: If it cannot be reached, or has no room.
        """
        options = {**options, "acknowledge": True, "save_seconds": save_seconds}
        given = {name: str(one).lower() if isinstance(one, bool) else one for name, one in options.items()}
        address = f"ws{self._url.removeprefix('http')}/v1/models/{model}/stream?{urlencode(given, doseq=True)}"
        live = AsyncStream(address, self._headers)
        try:
            await live.connected()
            yield live
        finally:
            await live.close()

    async def _asked(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RunError(f"{self._url} cannot be reached ({error!r}); is the server running?") from None


def _answer(response: httpx.Response) -> Any:
    """Return what a server answered, or raise what it refused."""
    try:
        content = response.json()
    except ValueError:
        raise RunError(f"{response.url} answered {response.status_code} and no JSON; is it rnnkit?") from None
    if response.is_success:
        return content
    message = f"{response.status_code}: {content.get('error', content)}"
    raise (DataError if response.status_code == 422 else RunError)(message)


class AsyncStream:
    """A stream on a server, as `AsyncClient.stream` opens it: nothing is lost in a break, and nothing heard twice.

    Args:
        address: Of the WebSocket.
        headers: Of the connection.
    """

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self._address, self._headers = address, headers
        self._socket: ClientConnection | None = None
        self._begin(None, 0)

    def _begin(self, state: str | None, seen: int) -> None:
        self._state = state
        self._sent = self._heard = self._saved = seen  # chunks
        self._kept: deque[str | bytes] = deque(maxlen=MOST_KEPT)  # those that the state does not hold

    async def push(self, chunk: Any) -> list[dict[str, Any]]:
        """Send a chunk: what JSON can say, an array of numbers in the model's binary form, or its bytes.

        Args:
            chunk: As the task takes it.

        Returns:
            The events that it causes.

        Raises:
            DataError: If the server refuses the chunk, or closes the stream for it.
            RunError: If the connection breaks and cannot be made again.
        """
        message = _message(chunk)
        self._kept.append(message)
        self._sent += 1
        await self._send(message)
        events: list[Any] = []
        try:
            while self._heard < self._sent:
                events += self._take(await self._receive())
        except DataError:  # it was refused, and the stream stands where it did
            self._kept.pop()
            self._sent -= 1
            raise
        return events

    async def finish(self) -> list[dict[str, Any]]:
        """End the sequence, and return the events that waited for more."""
        return await self._asked("finish", until="finished")

    async def reset(self) -> None:
        """Begin a new sequence."""
        await self._asked("reset", until="reset")
        self._begin(None, 0)

    async def state(self) -> str:
        """Return the state, to go on from elsewhere."""
        await self._asked("state", until="state")
        assert self._state is not None
        return self._state

    async def restore(self, state: str) -> None:
        """Go on from a state."""
        await self._send(json.dumps({"restore": state}))
        while (message := await self._receive())["type"] != "restored":
            self._take(message)
        self._begin(state, message["seen"])

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()

    async def connected(self) -> ClientConnection:
        """Return the connection, made again where it is broken."""
        pause = FIRST_PAUSE
        while self._socket is None:
            try:
                socket = await connect(
                    self._address, additional_headers=self._headers, max_size=None, ping_timeout=None, compression=None
                )
                first = json.loads(await socket.recv())
                if first["type"] == "ready":
                    self._socket = socket
                    return socket
                await socket.close()
                failure, refused = first["error"], first.get("code") == POLICY
            except InvalidStatus as error:
                content = error.response.body or b"{}"
                failure, refused = json.loads(content).get("error", str(error)), error.response.status_code < 500
            except (OSError, WebSocketException) as error:
                failure, refused = repr(error), False
            if refused:
                raise DataError(failure)
            if pause > FIRST_PAUSE * 2**TRIES:
                raise RunError(f"there is no stream to be had: {failure}")
            await asyncio.sleep(pause)
            pause *= 2
        return self._socket

    def _take(self, message: dict[str, Any]) -> list[Any]:
        """Note what a message says, and return the events in it that are new."""
        kind, seen = message["type"], message.get("seen", 0)
        if kind == "error":
            raise DataError(message["error"])
        if kind == "state":
            for _ in range(min(seen - self._saved, len(self._kept))):
                self._kept.popleft()
            self._state, self._saved = message["state"], seen
        if kind not in ("events", "finished"):
            return []
        fresh = seen > self._heard or kind == "finished"
        self._heard = max(self._heard, seen)
        return message["events"] if fresh else []

    async def _asked(self, action: str, *, until: str) -> list[Any]:
        request, events = json.dumps({action: True}), []
        await self._send(request)
        while True:
            message = await self._receive(request)
            events += self._take(message)
            if message["type"] == until:
                return events

    async def _send(self, message: str | bytes) -> None:
        try:
            await (await self.connected()).send(message)
        except ConnectionClosed as error:
            await self._again(error)  # sends it too, if it was a chunk

    async def _receive(self, request: str | None = None) -> dict[str, Any]:
        while True:
            try:
                return json.loads(await (await self.connected()).recv())
            except ConnectionClosed as error:
                await self._again(error, request)

    async def _again(self, error: ConnectionClosed, request: str | None = None) -> None:
        """Connect anew, and send what the last saved state does not hold."""
        closed = error.rcvd
        if closed is not None and closed.code in (POLICY, TOO_LARGE):
            raise DataError(f"the server closed the stream: {closed.reason or closed.code}")
        if self._sent - self._saved > len(self._kept):
            raise RunError(f"the connection broke {self._sent - self._saved:,} chunks after the last saved state")
        state = [] if self._state is None else [json.dumps({"restore": self._state})]
        self._socket = None
        socket = await self.connected()
        with suppress(ConnectionClosed):  # whoever receives next tries again
            for message in [*state, *self._kept, *([] if request is None else [request])]:
                await socket.send(message)


def _message(chunk: Any) -> str | bytes:
    if isinstance(chunk, (bytes, bytearray)):
        return bytes(chunk)
    if isinstance(chunk, np.ndarray):
        return np.ascontiguousarray(chunk).tobytes()
    return json.dumps({"push": chunk})


class Client:
    """Asks a server; each call waits for its answer.

    Args:
        url: As http://127.0.0.1:8000.
        api_key: Where the server wants one.
        timeout: Seconds that an answer may take.

    Raises:
        ConfigError: If the address is none.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        self._client = AsyncClient(url, api_key=api_key, timeout=timeout)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the connections go."""
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._runner.run(self._client.close())
        self._runner.close()

    def models(self) -> list[dict[str, Any]]:
        """List the models, and what they take."""
        return self._runner.run(self._client.models())

    def predict(self, model: str, inputs: Sequence[Any] | None, **options: Any) -> list[dict[str, Any]]:
        """Answer inputs as `AsyncClient.predict` does."""
        return self._runner.run(self._client.predict(model, inputs, **options))

    def generate(self, model: str, prompt: str = "", **options: Any) -> Iterator[dict[str, Any]]:
        """Have a text written on as `AsyncClient.generate` does: a token each, and at last what has `done`."""
        events = self._client.generate(model, prompt, **options)
        while (event := self._runner.run(_next(events))) is not None:
            yield event

    @contextmanager
    def stream(self, model: str, *, save_seconds: float = 1.0, **options: Any) -> Iterator[ClientStream]:
        """Open a stream as `AsyncClient.stream` does."""
        opening = self._client.stream(model, save_seconds=save_seconds, **options)
        live = self._runner.run(opening.__aenter__())
        try:
            yield ClientStream(live, self._runner)
        finally:
            self._runner.run(opening.__aexit__(None, None, None))


async def _next(events: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(events, None)


class ClientStream:
    """A stream on a server, as `Client.stream` opens it; it goes on as an `AsyncStream` does.

    Args:
        live: The stream.
        runner: Of the client.
    """

    def __init__(self, live: AsyncStream, runner: asyncio.Runner) -> None:
        self._live, self._runner = live, runner

    def push(self, chunk: Any) -> list[dict[str, Any]]:
        """Send a chunk, and return the events that it causes."""
        return self._runner.run(self._live.push(chunk))

    def finish(self) -> list[dict[str, Any]]:
        """End the sequence, and return the events that waited for more."""
        return self._runner.run(self._live.finish())

    def reset(self) -> None:
        """Begin a new sequence."""
        self._runner.run(self._live.reset())

    def state(self) -> str:
        """Return the state, to go on from elsewhere."""
        return self._runner.run(self._live.state())

    def restore(self, state: str) -> None:
        """Go on from a state."""
        self._runner.run(self._live.restore(state))
