"""What a server answers to requests, and what it refuses."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rnnkit import Client
from rnnkit.errors import ConfigError, DataError, RunError
from rnnkit.serving.wires import WIRES
from rnnkit.tasks import TASKS, LanguageModel, Task

SILENCE = WIRES["speech"].example(SimpleNamespace(sample_rate=8000))["inputs"][0]["audio"]
every_task = pytest.mark.parametrize("name", TASKS)


@every_task
def test_answers_are_those_of_the_model(name: str, everything: Any, tasks: dict[str, Task], agree: Any, plainly: Any):
    wire, task = WIRES[name], tasks[name]
    body = wire.example(task)
    answer = httpx.post(f"{everything.url}/v1/models/{name}/predict", json=body)
    assert answer.status_code == 200
    found = answer.json()
    expected = wire.predict(task, wire.request.model_validate(body))
    assert found["model"] == found["task"] == name
    assert agree(found["results"], plainly(expected))


@every_task
def test_the_description_has_an_example_that_works(name: str, everything: Any):
    description = httpx.get(f"{everything.url}/openapi.json").json()
    route = description["paths"][f"/v1/models/{name}/predict"]["post"]
    example = route["requestBody"]["content"]["application/json"]["example"]
    assert httpx.post(f"{everything.url}/v1/models/{name}/predict", json=example).status_code == 200
    assert {"200", "401", "413", "422", "429"} <= route["responses"].keys()
    assert route["responses"]["200"]["content"]["application/json"]["schema"]


def test_the_models_say_what_they_take(everything: Any):
    with Client(everything.url) as client:
        models = {one["name"]: one for one in client.models()}
    assert models.keys() == TASKS.keys()
    assert models["translation"]["why_no_stream"]
    assert models["series-classification"]["channels"] == 3
    assert models["speech"]["sample_rate"] == 8000


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("text-classification", {"inputs": []}, "inputs: List should have at least 1 item"),
        ("text-classification", {"inputs": ["x"] * 257}, "inputs: 257 are given; expected at most 256"),
        ("text-classification", {"input": "x"}, "inputs: Field required"),
        ("text-classification", {"inputs": ["x"], "candidates": 0}, "candidates"),
        ("series-classification", {"inputs": [[[1, 2]]]}, "expected points of 3 numbers"),
        ("series-classification", {"inputs": [[["a"]]]}, "inputs.0"),
        ("forecasting", {"inputs": ["nowhere"]}, "there is no series 'nowhere'"),
        ("forecasting", {"inputs": [[1.0], []]}, "series 2 has no value; expected at least one"),
        ("forecasting", {"horizon": 99}, "horizon is 99; the model forecasts 1 to 3 steps"),
        ("speech", {"inputs": [{"audio": "%"}]}, "audio is not base64"),
        ("speech", {"inputs": [{"audio": "é"}]}, "audio is not base64"),
        ("series-classification", {"inputs": [[[1e300, 0, 0]]]}, "a series has an infinite value"),
        ("forecasting", {"inputs": [[1.0, 1e300]]}, "value 2 is 1e+300; expected a number from -1e+30 to 1e+30"),
        ("speech", {"inputs": [{"audio": "aGFsbG8="}]}, "audio: this is no recording"),
        ("translation", {"inputs": ["x"], "beam": 33}, "beam is 33; expected at most 32"),
        ("speech", {"inputs": [{"audio": SILENCE}], "hot_words": ["x"]}, "hot words needs a beam"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(everything: Any, name: str, body: Any, error: str):
    answer = httpx.post(f"{everything.url}/v1/models/{name}/predict", json=body)
    assert answer.status_code == 422
    assert error in answer.json()["error"]


def test_the_client_says_what_was_refused(everything: Any):
    with Client(everything.url) as client:
        with pytest.raises(DataError, match="422: inputs: 300 are given"):
            client.predict("text-classification", ["x"] * 300)
        with pytest.raises(RunError, match="404: there is no model 'nothing'; expected one of language-model"):
            client.predict("nothing", ["x"])
        with pytest.raises(DataError, match="max_tokens is 9999; expected at most 2000"):
            list(client.generate("language-model", max_tokens=9999))
    with pytest.raises(ConfigError, match="expected http://HOST:PORT"):
        Client("localhost")
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(RunError, match="is the server running"):
        nobody.models()


def test_a_body_that_is_too_large_is_refused_however_it_comes(start: Any):
    with start("text-classification", limits={"max_body_bytes": 1000}) as running:
        url = f"{running.url}/v1/models/text-classification/predict"
        assert httpx.post(url, json={"inputs": ["x" * 2000]}).status_code == 413

        def pieces() -> Any:  # no length is told ahead
            yield b'{"inputs": ["'
            for _ in range(50):
                yield b"x" * 100
            yield b'"]}'

        answer = httpx.post(url, content=pieces(), headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "more than 1,000 bytes" in answer.json()["error"]


def test_more_requests_than_may_wait_are_refused(start: Any, monkeypatch: pytest.MonkeyPatch):
    with start("text-classification", limits={"max_requests": 2}) as running:
        task = running.host.models["text-classification"].task
        slowly = task.predict
        monkeypatch.setattr(task, "predict", lambda *given, **named: (time.sleep(0.5), slowly(*given, **named))[1])

        def ask(_: int) -> httpx.Response:
            return httpx.post(f"{running.url}/v1/models/text-classification/predict", json={"inputs": ["x"]})

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(ask, range(6)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert "2 requests wait already" in refused.json()["error"]
        assert ask(0).status_code == 200


# Writing


def test_tokens_are_sent_as_they_are_written(everything: Any, tasks: dict[str, Task]):
    model = tasks["language-model"]
    assert isinstance(model, LanguageModel)
    for options in ({"temperature": 0.8, "top_p": 0.9}, {"repetition_penalty": 1.3}, {"stop": ["e"]}):
        expected = model.generate("KING", max_tokens=30, seed=7, **options)
        with Client(everything.url) as client:
            *events, last = client.generate("language-model", "KING", max_tokens=30, seed=7, **options)
        assert "".join(event["text"] for event in [*events, last]) == expected
        assert last["done"]
        assert all(0 <= event["probability"] <= 1 and event["likely"] for event in events)
        body = {"prompt": "KING", "max_tokens": 30, "seed": 7, "stream": False, **options}
        whole = httpx.post(f"{everything.url}/v1/models/language-model/generate", json=body).json()
        assert whole["text"] == expected
        assert whole["tokens"] == len(events)


def test_an_empty_prompt_begins_a_document(everything: Any, tasks: dict[str, Task]):
    model = tasks["language-model"]
    assert isinstance(model, LanguageModel)
    with Client(everything.url) as client:
        events = client.generate("language-model", max_tokens=20, seed=3, repetition_penalty=1.5)
        text = "".join(event["text"] for event in events)
    assert text == model.generate(max_tokens=20, seed=3, repetition_penalty=1.5)


# Who may ask


def test_those_without_a_key_are_refused(start: Any):
    with start("language-model", api_keys=("secret", "other")) as running:
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        assert httpx.get(f"{running.url}/").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "sécret".encode()}):
            answer = httpx.get(f"{running.url}/v1/models", headers=headers)
            assert answer.status_code == 401
            assert "no valid API key" in answer.json()["error"]
        assert httpx.get(f"{running.url}/v1/models", headers={"X-API-Key": "other"}).status_code == 200
        url = f"{running.socket_url}/v1/models/language-model/stream"
        with pytest.raises(InvalidStatus) as refused, connect(url):
            pass
        assert refused.value.response.status_code == 401
        with connect(f"{url}?key=secret") as socket:
            assert json.loads(socket.recv())["type"] == "ready"
        with Client(running.url, api_key="secret") as client, client.stream("language-model") as stream:
            assert stream.push("a b")


def test_pages_of_other_origins_are_kept_out(start: Any):
    with start("language-model") as running:
        url = f"{running.socket_url}/v1/models/language-model/stream"
        with pytest.raises(InvalidStatus) as refused, connect(url, origin="https://evil.example"):  # type: ignore[arg-type]
            pass
        assert refused.value.response.status_code == 403
        with connect(url, origin=running.url) as socket:  # type: ignore[arg-type]
            assert json.loads(socket.recv())["type"] == "ready"
        answer = httpx.get(f"{running.url}/v1/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
    with start("language-model", origins=("https://good.example",)) as running:
        answer = httpx.get(f"{running.url}/v1/models", headers={"Origin": "https://good.example"})
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        url = f"{running.socket_url}/v1/models/language-model/stream"
        with connect(url, origin="https://good.example") as socket:  # type: ignore[arg-type]
            assert json.loads(socket.recv())["type"] == "ready"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/%2e%2e/errors.py",
        "/v1/models/../../etc/predict",
        "/page//etc",
    ],
)
def test_no_path_leads_out_of_the_page(everything: Any, path: str):
    host, port = everything.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as plain:  # a client library would mend the path
        plain.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert answer.split()[1] == b"404"


# Health


def test_health_and_meters(everything: Any):
    assert httpx.get(f"{everything.url}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{everything.url}/readyz").json() == {"status": "ready"}
    with Client(everything.url) as client, client.stream("language-model") as stream:
        stream.push("a b")
        client.predict("text-classification", ["x"])
        meters = httpx.get(f"{everything.url}/metrics").text
    assert 'rnnkit_streams{model="language-model"} 1.0' in meters
    assert 'rnnkit_chunk_seconds_count{model="language-model"}' in meters
    assert 'rnnkit_request_seconds_count{model="text-classification",status="200",verb="predict"}' in meters


def test_a_stopping_server_is_not_ready(start: Any):
    with start("language-model") as running:
        running.host.draining = True
        assert httpx.get(f"{running.url}/readyz").status_code == 503
        assert httpx.get(f"{running.url}/healthz").status_code == 200
