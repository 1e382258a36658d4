"""Token streaming: what a language model writes on, as server-sent events or as a whole."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from rnnkit.decoding.search import TEMPERATURES, Sampling
from rnnkit.errors import DataError
from rnnkit.serving.hosting import Host, Hosted
from rnnkit.serving.requests import Body, Candidates
from rnnkit.tasks.language_model import LanguageModel, Writing


class WriteRequest(Body):
    """What to write on from, and how."""

    prompt: str = Field("", description="What the text begins with.")
    max_tokens: int = Field(200, ge=1, description="The longest text, in tokens.")
    temperature: float = Field(1.0, ge=0, le=TEMPERATURES[1], description="0 always takes the likeliest token.")
    top_k: int | None = Field(None, ge=1, description="Keep the k likeliest tokens.")
    top_p: float | None = Field(None, gt=0, le=1, description="Keep the fewest tokens whose probabilities sum to p.")
    min_p: float | None = Field(None, ge=0, le=1, description="Keep tokens at least this share as likely as the first.")
    repetition_penalty: float = Field(1.0, ge=0.01, le=100, description="Makes tokens already seen less likely.")
    stop: list[str] = Field(default=[], max_length=16, description="Strings that end the text.")
    seed: int | None = Field(None, ge=0, lt=2**31, description="Makes it repeatable.")
    candidates: Candidates = 5
    stream: bool = Field(True, description="Send each token as it is written, as server-sent events.")

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty)


class Written(Body):
    """A text that was written as a whole."""

    model: str
    text: str
    tokens: int
    seconds: float


def add_writing(app: FastAPI, host: Host, hosted: Hosted, *, refusals: dict[int | str, dict[str, Any]]) -> None:
    """Add the route of a language model that writes; other models have none."""
    task = hosted.task
    if not isinstance(task, LanguageModel):
        return

    async def generate(request: WriteRequest) -> Response:
        most = host.limits.max_tokens
        if request.max_tokens > most:
            raise DataError(f"max_tokens is {request.max_tokens}; expected at most {most}")
        if host.full:
            host.meters.refused.labels("max_requests").inc()
            error = {"error": f"{host.limits.max_requests} requests wait already; try again later"}
            return Response(orjson.dumps(error), 429, {"Retry-After": "1"}, media_type="application/json")
        seed = secrets.randbits(31) if request.seed is None else request.seed
        writing = Writing(
            task,
            request.prompt,
            sampling=request.sampling,
            stop=request.stop,
            seed=seed,
            candidates=request.candidates,
        )
        events = _written(host, hosted, writing, most=request.max_tokens)
        if request.stream:
            return StreamingResponse(_as_messages(events), media_type="text/event-stream")
        began, text, tokens = time.perf_counter(), "", 0
        async for event in events:
            text += event["text"]
            tokens += "token" in event
        written = {"model": hosted.name, "text": text, "tokens": tokens, "seconds": time.perf_counter() - began}
        return Response(orjson.dumps(written), media_type="application/json")

    generate.__doc__ = f"Write on from a prompt with {hosted.name}."
    stream = {"description": "A token an event; the last one has `done`.", "content": {"text/event-stream": {}}}
    example = {"prompt": "ROMEO:", "max_tokens": 20, "temperature": 0.8, "stream": False}
    app.post(
        f"/v1/models/{hosted.name}/generate",
        tags=[hosted.name],
        summary="language-model: write on from a prompt",
        operation_id=f"generate_{hosted.name}",
        response_model=Written,
        responses={**refusals, 200: stream},
        openapi_extra={"requestBody": {"content": {"application/json": {"example": example}}}},
    )(generate)


async def _written(host: Host, hosted: Hosted, writing: Writing, *, most: int) -> AsyncIterator[dict[str, Any]]:
    """Write a text token by token, each in a batch with what else lives."""
    began, status = time.perf_counter(), "499"
    try:
        with host.asked():
            await host.engine.work(writing.reading())
            for _ in range(most):
                for token in await host.engine.work(writing.writing()):
                    yield {
                        "text": token.text,
                        "token": token.token,
                        "probability": token.probability,
                        "likely": token.likely,
                    }
                if writing.done:
                    break
            yield {"done": True, "text": writing.ending()}
            status = "200"
    finally:
        host.meters.requests.labels(hosted.name, "generate", status).observe(time.perf_counter() - began)


async def _as_messages(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for event in events:
        yield b"data: " + orjson.dumps(event) + b"\n\n"
