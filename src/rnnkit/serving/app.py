"""The HTTP and WebSocket interface: a route for each model and verb, described by OpenAPI."""

from __future__ import annotations

import asyncio
import hmac
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, create_model
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rnnkit import __version__
from rnnkit.errors import DataError, RnnkitError
from rnnkit.serving.hosting import Host, Hosted, Settings
from rnnkit.serving.live import LiveOptions, Lives, read_options
from rnnkit.serving.wires import Wire
from rnnkit.serving.writing import add_writing

SETTINGS = "RNNKIT_SERVE"  # the environment variable that tells workers
PAGE = Path(__file__).parent / "page"
POLICY = "default-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'"
OPEN = ("/healthz", "/readyz", "/", "/page")  # to those without a key too


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body is no text that can be read."},
    401: {"model": Refusal, "description": "No valid API key."},
    413: {"model": Refusal, "description": "The body is too large."},
    422: {"model": Refusal, "description": "The request does not fit the model, or a limit."},
    429: {"model": Refusal, "description": "Too many requests wait."},
}


def create() -> FastAPI:
    """Make a worker's application from what the environment says."""
    return make_app(Host(Settings(**orjson.loads(os.environ[SETTINGS]))))


def make_app(host: Host) -> FastAPI:
    """Make an application.

    Args:
        host: The models.

    Returns:
        The application.
    """
    lives = Lives(host)
    app = FastAPI(
        title="rnnkit",
        version=__version__,
        description="Recurrent networks that answer, and follow streams.",
        lifespan=lambda _: _life(host, lives),
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.add_exception_handler(RnnkitError, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(HTTPException, _missing)
    _add_health(app, host)
    _add_models(app, host)
    for hosted in host.models.values():
        _add_predict(app, host, hosted)
        add_writing(app, host, hosted, refusals=REFUSALS)
    _add_stream(app, host, lives)
    _add_unknown(app, host)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(Guard, host=host)
    if host.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(host.settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    return app


@asynccontextmanager
async def _life(host: Host, lives: Lives) -> AsyncIterator[None]:
    """Watch the streams while the server runs; when it is told to stop, let them go with their states first."""
    host.settle()
    loop, watcher = asyncio.get_running_loop(), asyncio.create_task(lives.watch())
    tasks: set[asyncio.Task[None]] = set()

    async def drain(number: signal.Signals, stop: Any) -> None:
        await lives.drain()
        stop(number, None)

    def told(number: signal.Signals, stop: Any) -> None:
        if host.draining:  # told twice: at once
            stop(number, None)
            return
        tasks.add(loop.create_task(drain(number, stop)))

    for number in (signal.SIGTERM, signal.SIGINT):
        stop = signal.getsignal(number)
        if callable(stop):
            try:
                loop.add_signal_handler(number, told, number, stop)
            except (RuntimeError, ValueError):  # not the main thread, as in tests: nobody will tell
                break
    yield
    watcher.cancel()
    host.close()


class Guard:
    """Refuses bodies that are too large, and who has no key; says that the page is the server's own.

    Args:
        app: What it guards.
        host: Its limits and keys.
    """

    def __init__(self, app: ASGIApp, host: Host) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._knows(scope, headers):
            self.host.meters.refused.labels("api_key").inc()
            await _say(401, "no valid API key; send it as Authorization: Bearer KEY")(scope, receive, send)
            return
        if scope["type"] == "websocket":
            if not self._own_page(headers):
                self.host.meters.refused.labels("origin").inc()
                await _say(403, "pages of other origins may not open streams here")(scope, receive, send)
                return
            await self.app(scope, receive, send)
            return
        await self._bounded(scope, receive, send, headers)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        most, read = self.host.limits.max_body_bytes, 0
        refusal = _say(413, f"the body has more than {most:,} bytes")
        if int(headers.get("content-length", "0") or 0) > most:
            self.host.meters.refused.labels("max_body_bytes").inc()
            await refusal(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                self.host.meters.refused.labels("max_body_bytes").inc()
                raise HTTPException(413, f"the body has more than {most:,} bytes")
            return message

        await self.app(scope, counted, send)

    def _knows(self, scope: Scope, headers: dict[str, str]) -> bool:
        keys = self.host.settings.api_keys
        path = scope["path"]
        if not keys or path in OPEN or path.startswith("/page/"):
            return True
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not given and scope["type"] == "websocket":  # a browser can set no header there
            given = dict(_parameters(scope)).get("key", "")
        return any(hmac.compare_digest(given.encode(), key.encode()) for key in keys)

    def _own_page(self, headers: dict[str, str]) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self.host.settings.origins or "*" in self.host.settings.origins:
            return True
        return origin.partition("://")[2] == headers.get("host")


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"))


def _say(status: int, error: str, *, after: int | None = None) -> Response:
    headers = {} if after is None else {"Retry-After": str(after)}
    return JSON({"error": error}, status_code=status, headers=headers)


class JSON(Response):
    """JSON of dataclasses and plain values; numbers that it lacks become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)


async def _refused(_: Request, error: Exception) -> Response:
    return _say(422, str(error))


async def _misread(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return _say(422, f"{place or 'the body'}: {first['msg']}")


async def _missing(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _say(error.status_code, str(error.detail))


def _add_health(app: FastAPI, host: Host) -> None:
    @app.get("/healthz", tags=["server"], summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", tags=["server"], summary="Whether it takes requests", responses={503: {"model": Refusal}})
    async def readyz() -> Response:
        return _say(503, "the server is stopping") if host.draining else JSON({"status": "ready"})

    @app.get(
        "/metrics",
        tags=["server"],
        summary="Counters and histograms for Prometheus",
        response_class=PlainTextResponse,
    )
    async def metrics() -> Response:
        return Response(host.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html", headers=headers)


def _add_models(app: FastAPI, host: Host) -> None:
    @app.get("/v1/models", tags=["models"], summary="What this server has")
    async def models() -> Response:
        return JSON({"models": [describe(hosted) for hosted in host.models.values()], "limits": host.limits})


def describe(hosted: Hosted) -> dict[str, Any]:
    """Say what a client must know of a model."""
    task, wire = hosted.task, hosted.wire
    return {
        "name": hosted.name,
        "task": task.name,
        "layer": task.config.layer,
        "parameters": sum(one.numel() for one in task.network.parameters()),
        "streams": hosted.why_no_stream is None,
        "why_no_stream": hosted.why_no_stream,
        "binary": wire.binary,
        "example": wire.example(task),
        "pushes": wire.pushes(task) if hosted.why_no_stream is None else [],
        **wire.facts(task),
    }


def answer_model(wire: Wire) -> type[BaseModel]:
    """Describe the answer to a request."""
    results: Any = list.__class_getitem__(wire.result)
    name = f"{wire.result.__name__}Answer"
    return create_model(name, model=(str, ...), task=(str, ...), results=(results, ...), seconds=(float, ...))


def _add_predict(app: FastAPI, host: Host, hosted: Hosted) -> None:
    wire, task = hosted.wire, hosted.task

    async def predict(request: BaseModel) -> Response:
        if host.full:
            host.meters.refused.labels("max_requests").inc()
            return _say(429, f"{host.limits.max_requests} requests wait already; try again later", after=1)
        began = time.perf_counter()
        check_size(host, request)
        status = "422"
        try:
            results = await host.answer(lambda: wire.predict(task, request))
            status = "200"
        finally:
            seconds = time.perf_counter() - began
            host.meters.requests.labels(hosted.name, "predict", status).observe(seconds)
        return JSON({"model": hosted.name, "task": task.name, "results": results, "seconds": round(seconds, 6)})

    predict.__annotations__["request"] = wire.request
    predict.__doc__ = f"Answer one input or many with {hosted.name}."
    app.post(
        f"/v1/models/{hosted.name}/predict",
        tags=[hosted.name],
        summary=f"{task.name}: answer inputs",
        operation_id=f"predict_{hosted.name}",
        response_model=answer_model(wire),
        responses=REFUSALS,
        openapi_extra={"requestBody": {"content": {"application/json": {"example": wire.example(task)}}}},
    )(predict)


def check_size(host: Host, request: Any) -> None:
    """Refuse a request that asks for more than the limits allow, by a DataError."""
    limits, inputs = host.limits, getattr(request, "inputs", None) or []
    if len(inputs) > limits.max_inputs:
        raise DataError(f"inputs: {len(inputs)} are given; expected at most {limits.max_inputs}")
    if getattr(request, "beam", 1) > limits.max_beam:
        raise DataError(f"beam is {request.beam}; expected at most {limits.max_beam}")


def _add_stream(app: FastAPI, host: Host, lives: Lives) -> None:
    @app.websocket("/v1/models/{name}/stream")
    async def stream(websocket: WebSocket, name: str) -> None:
        async def deny(status: int, error: str) -> None:
            await websocket.send_denial_response(_say(status, error))

        hosted = host.models.get(name)
        if hosted is None:
            await deny(404, f"there is no model {name[:64]!r}; expected one of {', '.join(host.models)}")
            return
        if hosted.why_no_stream is not None:
            await deny(409, hosted.why_no_stream)
            return
        try:
            options, own = split_options(hosted, _several(websocket))
            check_size(host, own)
        except RnnkitError as error:
            await deny(422, str(error))
            return
        await lives.follow(websocket, hosted, options, own)


def _add_unknown(app: FastAPI, host: Host) -> None:
    @app.api_route("/v1/models/{name}/{verb}", methods=["GET", "POST"], include_in_schema=False)
    async def unknown(name: str, verb: str) -> Response:
        if name not in host.models:
            return _say(404, f"there is no model {name[:64]!r}; expected one of {', '.join(host.models)}")
        return _say(404, f"{name} does not {verb[:64]!r} by such a request; see /openapi.json")


def _several(websocket: WebSocket) -> dict[str, Any]:
    """Read parameters of an address; one that is given several times is a list."""
    found: dict[str, Any] = {}
    for name in websocket.query_params:
        values = websocket.query_params.getlist(name)
        found[name] = values if len(values) > 1 or name == "hot_words" else values[0]
    found.pop("key", None)
    return found


def split_options(hosted: Hosted, parameters: dict[str, Any]) -> tuple[LiveOptions, BaseModel]:
    """Tell the options of a connection from those of the task's streams, and check both."""
    general = {name: parameters.pop(name) for name in list(parameters) if name in LiveOptions.model_fields}
    options = read_options(LiveOptions, general)
    assert isinstance(options, LiveOptions)
    return options, read_options(hosted.wire.options, parameters)
