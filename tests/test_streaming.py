"""The Stream contract over every task that streams, and what a stream's saved bytes must refuse."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from rnnkit.checkpoint import load, save_model
from rnnkit.errors import ConfigError, StreamError
from rnnkit.streaming import SideBySide, StreamPool, pack_state, unpack_state
from rnnkit.tasks import TASKS, Task
from rnnkit.tasks.forecasting import TickEvent
from rnnkit.tasks.language_model import TokenEvent
from rnnkit.tasks.speech import SpeechEvent

# Options of a network that is made in no time, and a text to push.
SMALL = {"hidden_size": 6, "embedding_size": 5}
TINY: dict[str, dict[str, Any]] = {
    "language-model": SMALL,
    "text-classification": SMALL,
    "series-classification": {"hidden_size": 6, "filters": 5, "stride": 2},
    "tagging": {**SMALL, "character_units": 5, "bidirectional": False},
    "forecasting": {"hidden_size": 6, "horizon": 3},
    "speech": {"hidden_size": 6, "filters": 5},
}
TEXT = "First Citizen:\nBefore we proceed any further, hear me speak."
STROKE = [[step, 2 * step % 7, 10 * step] for step in range(61)]
WHOLE_SENTENCES = {"translation"}  # refuses to stream: the contract of the tasks tests that it says why
STREAMED = [name for name in TASKS if name not in WHOLE_SENTENCES]
PUSHED: dict[str, Any] = dict.fromkeys(STREAMED, TEXT) | {
    "series-classification": STROKE,
    "forecasting": [float(step * step % 17) for step in range(61)],
    "speech": [step * step % 17 / 17 for step in range(1500)],
}

every_task = pytest.mark.parametrize("name", STREAMED)


def number(event: Any) -> float:
    """What an event says, as one number."""
    if isinstance(event, TickEvent):
        return event.forecast.median[-1]
    if isinstance(event, SpeechEvent):
        return event.end + len(event.text)
    return event.nats if isinstance(event, TokenEvent) else event.probability


def untrained(name: str, seed: int = 0, **options: Any) -> Task:
    torch.manual_seed(seed)
    task_class = TASKS[name]
    config = task_class.config_class(**TINY[name], **options)
    task = task_class.prepare(task_class.read([task_class.demo_data()], config), config)
    task.network.eval()
    return task


def lasting(events: list[Any]) -> list[Any]:
    """Leave out what a stream says for the moment, which depends on how often it is asked."""
    return [event for event in events if not isinstance(event, SpeechEvent) or event.kind == "final"]


@pytest.fixture(scope="module")
def model() -> Callable[[str], Task]:
    """Make each task once; skip one that cannot stream, with its reason."""
    made = {name: untrained(name) for name in STREAMED}

    def get(name: str) -> Task:
        try:
            made[name].stream()
        except ConfigError as reason:
            pytest.skip(str(reason))
        return made[name]

    return get


@every_task
@pytest.mark.parametrize("cut", [0, 1, 17, len(TEXT)])
def test_a_restored_stream_goes_on_identically(name: str, cut: int, model: Callable[[str], Task]):
    first, second = model(name).stream(), model(name).stream()
    first.push(PUSHED[name][:cut])
    second.restore(first.state())
    assert second.push(PUSHED[name][cut:]) == first.push(PUSHED[name][cut:])
    assert second.finish() == first.finish()


@every_task
def test_a_state_goes_on_in_another_process(name: str, model: Callable[[str], Task], tmp_path: Path):
    save_model(model(name), tmp_path / "model")
    stream = load(tmp_path / "model").stream()
    stream.push(PUSHED[name][:20])
    (tmp_path / "state").write_bytes(stream.state())
    script = (
        "import json, sys, torch; from pathlib import Path; from rnnkit import load\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "stream = load(sys.argv[1] + '/model').stream(); stream.restore(Path(sys.argv[1], 'state').read_bytes())\n"
        "print(ascii([*stream.push(json.loads(sys.argv[2])), *stream.finish()]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path), json.dumps(PUSHED[name][20:])]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found.strip() == ascii([*stream.push(PUSHED[name][20:]), *stream.finish()])


@every_task
def test_the_state_holds_text_that_waits_for_more(name: str):
    if name != "language-model":
        pytest.skip("its events do not name the text that waits")
    words = untrained(name, vocabulary="word")
    first, second = words.stream(), words.stream()
    waiting = first.push("First Citi")
    second.restore(first.state())
    following = second.push("zen: Before") + second.finish()
    assert [event.token for event in waiting + following] == ["First", "Citizen", ":", "Before"]


@every_task
def test_a_stream_that_was_in_a_pool_goes_on_alone(name: str, model: Callable[[str], Task]):
    task = model(name)
    chunk, cut = PUSHED[name], len(PUSHED[name]) // 2
    alone, pooled, beside = task.stream(), task.stream(), task.stream()
    expected = alone.push(chunk[:cut]) + alone.push(chunk[cut:]) + alone.finish()
    found = StreamPool().push({pooled: chunk[:cut], beside: chunk})[pooled]
    pooled.restore(pooled.state())
    found = found + pooled.push(chunk[cut:]) + pooled.finish()
    assert [number(one) for one in lasting(found)] == pytest.approx(
        [number(one) for one in lasting(expected)], rel=1e-4
    )


def test_samples_that_wait_are_no_longer_the_callers(model: Callable[[str], Task]):
    task: Any = model("series-classification")
    buffer, found, expected = np.zeros((5, 3), np.float32), task.stream(), task.stream()
    events, wanted = [], []
    for value in (1.0, 9.0, 4.0):
        wanted += expected.push(np.full((5, 3), value, np.float32))
        buffer[:] = value
        events += found.push(buffer)
    assert events == wanted


@every_task
def test_push_after_finish_is_refused_until_reset(name: str, model: Callable[[str], Task]):
    stream = model(name).stream()
    expected = stream.push(PUSHED[name]) + stream.finish()
    with pytest.raises(StreamError, match="push after finish"):
        stream.push(PUSHED[name][:1])
    assert stream.finish() == []
    stream.reset()
    assert stream.push(PUSHED[name]) + stream.finish() == expected


@every_task
def test_a_finished_stream_stays_finished_when_restored(name: str, model: Callable[[str], Task]):
    first, second = model(name).stream(), model(name).stream()
    first.push(PUSHED[name])
    first.finish()
    second.restore(first.state())
    with pytest.raises(StreamError, match="push after finish"):
        second.push(PUSHED[name][:1])


@every_task
def test_two_streams_of_one_model_do_not_meet(name: str, model: Callable[[str], Task]):
    pushed = PUSHED[name]
    undisturbed, first, second = (model(name).stream() for _ in range(3))
    alone = [*undisturbed.push(pushed), *undisturbed.finish()]
    mixed = []
    for place in range(len(pushed)):
        mixed += first.push(pushed[place : place + 1])
        second.push(pushed[:1])
    mixed += first.finish()
    found = torch.tensor([[number(event) for event in lasting(events)] for events in (alone, mixed)])
    assert torch.allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


# What restore refuses


@every_task
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "head"])
def test_damaged_bytes_are_refused_and_leave_the_stream_as_it_was(name: str, damage: str, model: Callable[[str], Task]):
    stream, reference = model(name).stream(), model(name).stream()
    for one in (stream, reference):
        one.push(PUSHED[name][:10])
    state = stream.state()
    broken = {"empty": b"", "text": b"no state at all", "cut": state[:-3], "head": b"\xff" * 9 + state[9:]}[damage]
    with pytest.raises(StreamError, match="not a stream's state"):
        stream.restore(broken)
    assert stream.push(PUSHED[name][10:]) == reference.push(PUSHED[name][10:])


@every_task
def test_the_state_of_another_model_is_refused_naming_both(name: str, model: Callable[[str], Task]):
    other = untrained(name, seed=1).stream()
    with pytest.raises(StreamError, match=r"of model '[0-9a-f]{16}'; this one is '[0-9a-f]{16}'"):
        model(name).stream().restore(other.state())


def rewritten(state: bytes, **facts: str) -> bytes:
    """Change facts in the head of a state."""
    size = int.from_bytes(state[:8], "little")
    head = json.loads(state[8 : 8 + size])
    head["__metadata__"] |= facts
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + state[8 + size :]


@every_task
def test_the_state_of_another_version_is_refused_naming_it(name: str, model: Callable[[str], Task]):
    stream = model(name).stream()
    with pytest.raises(StreamError, match="version '99'.*reads '1'"):
        stream.restore(rewritten(stream.state(), version="99"))


def test_safetensors_of_another_program_are_refused():
    with pytest.raises(StreamError, match="not a stream's state"):
        unpack_state(save({"h": torch.zeros(1, 2)}), model="m", like={})


LIKE = {"h": torch.zeros(1, 2), "c": torch.zeros(1, 3)}


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"h": torch.zeros(1, 2)}, r"holds \{'h': '\(1, 2\) float32'\}"),
        ({**LIKE, "c": torch.zeros(1, 4)}, r"'c': '\(1, 4\) float32'.*expected.*'c': '\(1, 3\) float32'"),
        ({**LIKE, "c": torch.zeros(1, 3).double()}, r"'c': '\(1, 3\) float64'"),
        ({**LIKE, "c": torch.tensor([[0.0, torch.nan, 1.0]])}, "c with nan"),
        ({**LIKE, "h": torch.tensor([[torch.inf, 1.0]])}, "h with inf"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors: dict[str, torch.Tensor], found: str):
    with pytest.raises(StreamError, match=found):
        unpack_state(pack_state(tensors, {"model": "m"}), model="m", like=LIKE)


def test_a_state_without_its_facts_is_refused():
    stream = untrained("language-model").stream()
    state = stream.state()
    tensors = unpack_state(state, model=stream.model.fingerprint, like=stream.tensors())[0]
    with pytest.raises(StreamError, match="only the facts"):
        stream.restore(pack_state(tensors, {"model": stream.model.fingerprint}))


def test_states_side_by_side_are_their_parts():
    flat = torch.arange(12.0).view(2, 6)
    state = SideBySide(flat, [1, 2, 3])
    assert len(state) == 3
    assert [part.shape for part in state] == [(2, 1), (2, 2), (2, 3)]
    assert torch.equal(torch.cat(state[1:], dim=1), flat[:, 1:])
    assert torch.equal(state[-1], flat[:, 3:])
