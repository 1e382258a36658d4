"""Recordings of single words are series too: learnt from a list, answered from a file, a waveform or a live stream."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnnkit
from rnnkit.cli import main
from rnnkit.errors import DataError, StreamError
from rnnkit.tasks import SeriesClassification
from rnnkit.tasks.series_classification import StepEvent
from rnnkit.training import train

RATE = 8_000
FAST: dict[str, Any] = {"hidden_size": 16, "filters": 8, "threads": 1, "precision": "32-true", "batch_size": 16}


def sweep(direction: str, generator: np.random.Generator) -> np.ndarray:
    """Make a tone that rises or falls, among noise."""
    seconds = generator.uniform(0.25, 0.35)
    pitch = np.linspace(400, 1600, int(seconds * RATE)) * generator.uniform(0.9, 1.1)
    phase = 2 * np.pi * np.cumsum(pitch if direction == "up" else pitch[::-1]) / RATE
    noise = 0.01 * generator.normal(size=len(phase))
    return (0.3 * np.sin(phase) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of rising and falling tones, trained from a list of recordings."""
    folder, generator = tmp_path_factory.mktemp("recordings"), np.random.default_rng(1)
    rows = []
    for number in range(80):
        label = ("up", "down")[number % 2]
        soundfile.write(folder / f"{number}.wav", sweep(label, generator), RATE)
        rows.append(f"{number}.wav\t{label}\n")
    (folder / "list.tsv").write_text("path\tlabel\n" + "".join(rows))
    train("gesture", folder / "list.tsv", run=folder / "run", steps=100, sample_rate=RATE, valid_share=0.2, **FAST)
    return folder / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> SeriesClassification:
    found = rnnkit.load(run)
    assert isinstance(found, SeriesClassification)
    return found


def test_rising_and_falling_tones_are_told_apart(model: SeriesClassification):
    generator = np.random.default_rng(2)
    sounds = [(label, sweep(label, generator)) for label in ("up", "down") * 10]
    found = model.predict([sound for _, sound in sounds])
    assert np.mean([one.label == label for one, (label, _) in zip(found, sounds, strict=True)]) > 0.9


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 2400), max_size=5), saved=st.integers(0, 5))
def test_sound_in_pieces_is_answered_as_the_whole(model: SeriesClassification, cuts: list[int], saved: int):
    sound = sweep("up", np.random.default_rng(3))
    (whole,) = model.predict([sound], running=True)
    live, events = model.stream(), []
    for number, piece in enumerate(np.split(sound, sorted(cuts))):
        if number == saved:
            state, live = live.state(), model.stream()
            live.restore(state)
        events += live.push(piece)
    last: list[StepEvent] = live.finish()
    assert [event.step for event in events] == list(range(1, whole.steps + 1))
    np.testing.assert_allclose(
        [event.probability for event in events], [event.probability for event in whole.running], atol=1e-5
    )
    assert sum(event.fired for event in events + last) == 1


def test_a_state_without_its_sound_is_refused(model: SeriesClassification):
    live = model.stream()
    live.push(sweep("up", np.random.default_rng(4)))
    with pytest.raises(StreamError):
        model.stream().restore(live.state()[:-40])


def test_a_file_is_answered_from_the_command_line(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["predict", str(run), str(run.parent / "0.wav"), "--early"]) == 0
    assert "up" in capsys.readouterr().out


class Pipe:
    """Standard input that gives its bytes in odd pieces."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)
        self.buffer = self

    def read1(self, size: int) -> bytes:
        return self.content.read(min(size, 333))


def test_bare_samples_are_followed_live(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    samples = (32767 * sweep("down", np.random.default_rng(5))).astype("<i2")
    monkeypatch.setattr("sys.stdin", Pipe(samples.tobytes()))
    assert main(["stream", str(run)]) == 0
    assert "=> down" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", Pipe((run.parent / "0.wav").read_bytes()))
    assert main(["stream", str(run)]) == 2
    assert "standard input is a recording's file" in capsys.readouterr().err


def test_sound_is_refused_by_a_model_of_points(tmp_path: Path):
    data = tmp_path / "points.jsonl"
    data.write_text("".join(f'{{"label": "{"ab"[n % 2]}", "x": [[{n % 2}, 1], [0, {n}]]}}\n' for n in range(20)))
    points = train("gesture", data, run=tmp_path / "run", steps=1, **FAST).model
    with pytest.raises(DataError, match="expected points of 2 numbers each"):
        points.predict([np.zeros(400, dtype=np.float32)])
