"""What a client gets from a stream on a server is what the stream gives at home, whatever others send."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from rnnkit import Client
from rnnkit.errors import DataError, RunError, StreamError
from rnnkit.serving.tickets import Ticket, Tickets
from rnnkit.tasks import TASKS, Task

STREAMED = [name for name in TASKS if name != "translation"]
TEXT = "First Citizen:\nBefore we proceed any further, hear me speak. "
STROKE = [[float(step), 2.0 * step % 7, 10.0 * step] for step in range(40)]
TICKS = [float(step * step % 17) for step in range(12)]
SOUND = (np.sin(np.arange(6000) / 5) * np.sin(np.arange(6000) / 900)).astype(np.float32)
CHUNKS: dict[str, list[Any]] = {name: [TEXT[:3], TEXT[3:20], TEXT[20:]] for name in STREAMED} | {
    "series-classification": [STROKE[:1], STROKE[1:17], STROKE[17:]],
    "forecasting": [TICKS[:5], [None], TICKS[5:]],
    "speech": [SOUND[:500].tolist(), SOUND[500:].tolist()],
}
WITHOUT_CANDIDATES = {"forecasting", "speech"}
OPTIONS: dict[str, dict[str, Any]] = {
    name: {} if name in WITHOUT_CANDIDATES else {"candidates": 2} for name in STREAMED
}

every_stream = pytest.mark.parametrize("name", STREAMED)


def at_home(task: Task, name: str, plainly: Any) -> list[Any]:
    options = {"candidates": 2} if OPTIONS[name] else {}
    stream = task.stream(**options)
    return plainly([event for chunk in CHUNKS[name] for event in stream.push(chunk)] + stream.finish())


@every_stream
def test_events_are_those_of_the_stream_at_home(
    name: str, everything: Any, tasks: dict[str, Task], agree: Any, plainly: Any
):
    with Client(everything.url) as client, client.stream(name, **OPTIONS[name]) as stream:
        events = [event for chunk in CHUNKS[name] for event in stream.push(chunk)] + stream.finish()
    assert events
    assert agree(events, at_home(tasks[name], name, plainly))


BINARY = {
    "language-model": [chunk.encode() for chunk in CHUNKS["language-model"]],
    "series-classification": [np.array(chunk, np.float32) for chunk in CHUNKS["series-classification"]],
    "forecasting": [np.array([np.nan if one is None else one for one in chunk]) for chunk in CHUNKS["forecasting"]],
    "speech": [np.round(np.array(chunk) * 32767).astype("<i2") for chunk in CHUNKS["speech"]],
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_messages_say_the_same(name: str, everything: Any, tasks: dict[str, Task], agree: Any, plainly: Any):
    with Client(everything.url) as client, client.stream(name, **OPTIONS[name]) as stream:
        events = [event for chunk in BINARY[name] for event in stream.push(chunk)] + stream.finish()
    if name == "speech":  # 16 bits are not quite the samples
        assert [event["kind"] for event in events] == [event["kind"] for event in at_home(tasks[name], name, plainly)]
    else:
        assert agree(events, at_home(tasks[name], name, plainly))


def test_many_clients_at_once_get_what_each_would_alone(
    everything: Any, tasks: dict[str, Task], agree: Any, plainly: Any
):
    expected = {name: at_home(tasks[name], name, plainly) for name in STREAMED}

    def follow(name: str) -> bool:
        with Client(everything.url) as client, client.stream(name, **OPTIONS[name]) as stream:
            events = [event for chunk in CHUNKS[name] for event in stream.push(chunk)]
            return agree(events + stream.finish(), expected[name])

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(follow, STREAMED * 4))


def test_what_one_client_sends_wrongly_changes_no_other(
    everything: Any, tasks: dict[str, Task], agree: Any, plainly: Any
):
    with (
        Client(everything.url) as client,
        client.stream("series-classification", candidates=2) as good,
        client.stream("series-classification") as bad,
    ):
        events = good.push(STROKE[:20])
        with pytest.raises(DataError, match="expected a number a channel"):
            bad.push([["x", 1, 2]])
        with pytest.raises(DataError, match="expected points of 3 numbers"):
            bad.push([[1.0, 2.0]])
        with pytest.raises(DataError, match="12 a point"):
            bad.push(b"12345")
        assert len(bad.push(STROKE[:2])) == 2  # it goes on
        events += good.push(STROKE[20:]) + good.finish()
    stream = tasks["series-classification"].stream(candidates=2)
    assert agree(events, plainly(stream.push(STROKE) + stream.finish()))


@pytest.fixture
def raw(everything: Any) -> Iterator[ClientConnection]:
    with connect(f"{everything.socket_url}/v1/models/language-model/stream") as socket:
        assert json.loads(socket.recv()) == {"type": "ready", "model": "language-model"}
        yield socket


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "no JSON"),
        ("[]", "one key of push, finish"),
        ('{"pull": 1}', "one key of push"),
        ('{"push": 1}', "push holds a number; expected text"),
        ('{"push": "a", "finish": 1}', "one key"),
        ('{"restore": 7}', "expected the state as it was given"),
        ('{"restore": "%%"}', "not base64"),
        ('{"restore": "aGFsbG8="}', "not signed by this server"),
        (b"\xff\xfe", "byte 0xff, which is not UTF-8"),
    ],
)
def test_a_message_that_is_none_is_refused_and_the_stream_goes_on(raw: ClientConnection, message: Any, error: str):
    raw.send(message)
    answer = json.loads(raw.recv())
    assert answer["type"] == "error"
    assert error in answer["error"]
    raw.send('{"push": "a b"}')
    assert json.loads(raw.recv())["type"] == "events"
    raw.send('{"ping": 5}')
    assert json.loads(raw.recv()) == {"type": "pong", "pong": 5}


def test_push_after_finish_is_refused_until_reset(everything: Any, agree: Any):
    with Client(everything.url) as client, client.stream("language-model") as stream:
        first = stream.push("To be") + stream.finish()
        with pytest.raises(DataError, match="push after finish"):
            stream.push("x")
        stream.reset()
        assert agree(stream.push("To be") + stream.finish(), first)


def test_only_changes_are_sent_where_they_are_asked_for(everything: Any):
    with Client(everything.url) as client, client.stream("series-classification", changes=True) as stream:
        events = stream.push(STROKE)
    labels = [event["label"] for event in events if not event["fired"]]
    assert 0 < len(labels) < len(STROKE)
    assert all(one != other for one, other in pairwise(labels))


# States


@every_stream
def test_a_state_goes_on_at_another_server_with_the_same_key(
    name: str, start: Any, tasks: dict[str, Task], agree: Any, plainly: Any
):
    key = "ab" * 32
    with start(name, state_key=key) as one, start(name, state_key=key) as other:
        with Client(one.url) as client, client.stream(name, **OPTIONS[name]) as stream:
            events = stream.push(CHUNKS[name][0])
            state = stream.state()
        with Client(other.url) as client, client.stream(name, **OPTIONS[name]) as stream:
            stream.restore(state)
            events += [event for chunk in CHUNKS[name][1:] for event in stream.push(chunk)] + stream.finish()
    assert agree(events, at_home(tasks[name], name, plainly))


def test_states_of_others_are_refused(everything: Any, start: Any):
    with Client(everything.url) as client, client.stream("language-model") as stream:
        stream.push("To be")
        state = stream.state()
        with (
            client.stream("text-classification") as other,
            pytest.raises(DataError, match="the model 'language-model'"),
        ):
            other.restore(state)
        with pytest.raises(DataError, match="not signed"):
            stream.restore(("A" if state[0] != "A" else "B") + state[1:])
        with pytest.raises(DataError, match="exceeds limit of 1048576"):
            stream.restore("A" * 1_048_580)
    with (
        start("language-model") as another,
        Client(another.url) as client,
        client.stream("language-model") as stream,
        pytest.raises(DataError, match="not signed by this server"),
    ):
        stream.restore(state)


def test_a_ticket_is_read_as_it_was_signed_and_no_other(monkeypatch: pytest.MonkeyPatch):
    tickets, ticket = Tickets(b"key", most_bytes=200), Ticket("lm", 1, b"state")
    text = tickets.sign(ticket)
    assert tickets.read(text, model="lm") == ticket
    with pytest.raises(StreamError, match="has 201 characters; expected at most 200"):
        tickets.read("A" * 201, model="lm")
    for place in range(len(text)):
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        if base64.b64decode(other) == base64.b64decode(text):  # the last bits of base64 may say nothing
            continue
        with pytest.raises(StreamError, match="not signed|not base64"):
            tickets.read(other, model="lm")
    monkeypatch.setattr("rnnkit.serving.tickets.VERSION", 2)
    with pytest.raises(StreamError, match="has version 1; this server reads 2"):
        tickets.read(text, model="lm")


# Limits


def refusal(socket: ClientConnection) -> tuple[Any, int]:
    """The error that a server sends, and the code by which it closes."""
    messages = [json.loads(message) for message in until_closed(socket)]
    errors = [message["error"] for message in messages if "error" in message]
    return errors[-1] if errors else None, socket.protocol.close_code or 0


def until_closed(socket: ClientConnection) -> Iterator[Any]:
    with suppress(ConnectionClosed):
        while True:
            yield socket.recv(timeout=10)


def test_one_stream_too_many_is_told_to_try_again_and_the_others_go_on(start: Any):
    with start("language-model", limits={"max_streams": 2}) as running:
        url = f"{running.socket_url}/v1/models/language-model/stream"
        with connect(url) as first, connect(url) as second:
            for socket in (first, second):
                assert json.loads(socket.recv())["type"] == "ready"
            with connect(url) as third:
                error, code = refusal(third)
            assert code == 1013
            assert "2 streams live already" in error
            first.send('{"push": "a b"}')
            assert json.loads(first.recv())["type"] == "events"
        with connect(url) as again:
            assert json.loads(again.recv())["type"] == "ready"
        assert 'rnnkit_refused_total{reason="max_streams"} 1.0' in running.host.meters.text().decode()


def test_a_client_waits_for_room_and_then_says_that_there_is_none(start: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rnnkit.serving.client.TRIES", 1)
    with (
        start("language-model", limits={"max_streams": 1}) as running,
        Client(running.url) as client,
        client.stream("language-model"),
        pytest.raises(RunError, match="1 streams live already"),
        client.stream("language-model"),
    ):
        pass


@pytest.mark.parametrize(
    ("limits", "messages", "code", "said"),
    [
        ({"max_message_bytes": 100}, ['{"push": "' + "a" * 200 + '"}'], 1009, None),
        ({"message_rate": 1.0}, ['{"ping": 1}'] * 10, 1008, "more than 1 messages a second"),
        ({"idle_seconds": 0.2}, [], 1008, None),
        ({"stream_seconds": 0.2}, ['{"push": "a"}'], 1008, None),
    ],
)
def test_what_is_beyond_a_limit_ends_the_stream(start: Any, limits: Any, messages: list[str], code: int, said: Any):
    with start("language-model", limits=limits) as running:
        with connect(f"{running.socket_url}/v1/models/language-model/stream") as socket:
            with suppress(ConnectionClosed):  # it may be closed before all are sent
                for message in messages:
                    socket.send(message)
            error, closed = refusal(socket)
        assert (error, closed) == (said, code)


def test_an_idle_stream_is_handed_its_state(start: Any, tasks: dict[str, Task], agree: Any, plainly: Any):
    with start("language-model", limits={"idle_seconds": 0.3}, state_key="cd" * 32) as running:
        with connect(f"{running.socket_url}/v1/models/language-model/stream") as socket:
            socket.recv()
            socket.send('{"push": "To be"}')
            messages = list(map(json.loads, until_closed(socket)))
        assert [message["type"] for message in messages] == ["events", "state"]
        with Client(running.url) as client, client.stream("language-model") as stream:
            stream.restore(messages[1]["state"])
            found = stream.push(" or")
    alone = tasks["language-model"].stream(candidates=3)
    alone.push("To be")
    assert agree(found, plainly(alone.push(" or")))


@pytest.mark.parametrize(
    ("place", "status", "error"),
    [
        ("nothing/stream", 404, "there is no model 'nothing'; expected one of"),
        ("translation/stream", 409, "needs the whole sentence"),
        ("language-model/stream?candidates=x", 422, "candidates: Input should be a valid integer"),
        ("language-model/stream?candidates=999", 422, "candidates"),
        ("language-model/stream?continuous=1", 422, "continuous: Extra inputs are not permitted"),
        ("speech/stream?beam=33", 422, "beam is 33; expected at most 32"),
        ("speech/stream?save_seconds=-1", 422, "save_seconds"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(everything: Any, place: str, status: int, error: str):
    with pytest.raises(InvalidStatus) as refused, connect(f"{everything.socket_url}/v1/models/{place}"):
        pass
    assert refused.value.response.status_code == status
    assert error in json.loads(refused.value.response.body or b"{}")["error"]


def test_options_that_do_not_fit_the_model_are_refused(everything: Any):
    with Client(everything.url) as client:
        with pytest.raises(DataError, match="no series 'nowhere'"), client.stream("forecasting", series="nowhere"):
            pass
        with pytest.raises(DataError, match="hot words needs a beam"), client.stream("speech", hot_words=["one"]):
            pass
