"""A server as a process: how it starts and stops, what happens to streams when it does, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rnnkit import Client
from rnnkit.cli import main
from rnnkit.tasks import Task

KEY = "ef" * 32


@contextmanager
def serving(*arguments: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `rnnkit serve` on a free port; give its address."""
    command = [sys.executable, "-m", "rnnkit", "serve", *map(str, arguments), "--port", "0"]
    environment = {**os.environ, "RNNKIT_STATE_KEY": KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        found = re.match(r"(http\S+) serves ", first)
        assert found, first + run.stdout.read()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{found[1]}/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
        try:
            yield found[1], run
        finally:
            run.terminate()
            run.wait(30)


def test_a_stopping_server_hands_over_states_and_another_goes_on(
    folders: dict[str, Path], tasks: dict[str, Task], agree: Any, plainly: Any
):
    with serving(folders["language-model"]) as (url, process):
        with connect(f"ws{url.removeprefix('http')}/v1/models/language-model/stream") as socket:
            socket.recv()
            socket.send('{"push": "To be"}')
            assert json.loads(socket.recv())["type"] == "events"
            process.send_signal(signal.SIGTERM)
            farewell = json.loads(socket.recv(timeout=20))
            assert farewell["type"] == "state"
            assert farewell["reason"] == "the server stops"
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=20)
            assert socket.protocol.close_code == 1012
        assert process.wait(20) in (0, -signal.SIGTERM)
    with (
        serving(folders["language-model"]) as (url, _),
        Client(url) as client,
        client.stream("language-model") as stream,
    ):
        stream.restore(farewell["state"])
        events = stream.push(" or not")
    alone = tasks["language-model"].stream(candidates=3)
    alone.push("To be")
    assert agree(events, plainly(alone.push(" or not")))


@pytest.mark.slow
def test_clients_of_a_killed_worker_lose_nothing(
    folders: dict[str, Path], tasks: dict[str, Task], agree: Any, plainly: Any
):
    points = [[float(step), 2.0 * step % 7, 10.0 * step] for step in range(300)]
    expected = tasks["series-classification"].stream(candidates=2)
    events_expected = plainly(expected.push(points) + expected.finish())
    found: dict[int, list[Any]] = {}

    def follow(number: int, url: str) -> None:
        with Client(url) as client, client.stream("series-classification", candidates=2, save_seconds=0.2) as stream:
            events = []
            for point in points:
                events += stream.push([point])
                time.sleep(0.01)
            found[number] = events + stream.finish()

    with serving(folders["series-classification"], "--workers", 2) as (url, process):
        clients = [threading.Thread(target=follow, args=(number, url)) for number in range(12)]
        for client in clients:
            client.start()
        time.sleep(1.5)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        workers = [int(line) for line in children.stdout.split() if is_worker(int(line))]
        os.kill(workers[0], signal.SIGKILL)
        for client in clients:
            client.join(120)
    assert len(found) == len(clients)
    assert all(agree(events, events_expected) for events in found.values())


def is_worker(process: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "no model is given"),
        (["{missing}"], "there is no such folder"),
        (["{empty}"], "holds no rnnkit model"),
        (["{lm}", "{lm}"], "are both called 'language-model'; give one a name"),
        (["{lm}", "--max-streams", "0"], "max_streams is 0; expected 1 or more"),
        (["{lm}", "--workers", "0"], "workers is 0"),
        (["{lm}", "--host", "no.such.host.invalid"], "cannot be listened on"),
        (["{lm}", "--tls-certificate", "{missing}"], "come together"),
        (["{lm}", "--tls-certificate", "{missing}", "--tls-key", "{missing}"], "there is no such file"),
        (["{lm}", "--api-key-file", "{missing}"], "cannot be read"),
        (["{lm}", "--weights", "int4"], "int4"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    arguments: list[str], error: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    names = {"lm": folders["language-model"], "missing": tmp_path / "missing", "empty": tmp_path / "empty"}
    assert main(["serve", *(word.format(**names) for word in arguments), "--port", "0"]) == 2
    assert error in " ".join(capsys.readouterr().err.split())


def test_a_port_that_is_taken_is_named(folders: dict[str, Path], start: Any, capsys: pytest.CaptureFixture[str]):
    with start("language-model") as running:
        port = running.url.rpartition(":")[2]
        assert main(["serve", str(folders["language-model"]), "--port", port]) == 2
    assert f"127.0.0.1:{port} cannot be listened on" in capsys.readouterr().err


def test_a_missing_extra_is_named():
    script = (
        "import sys; sys.modules['orjson'] = None; from rnnkit.cli import main; sys.exit(main(['serve', 'runs/x']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "serve needs orjson, which is not installed; pip install 'rnnkit[serve]'" in done.stderr
