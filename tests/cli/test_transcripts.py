"""Transcripts on the command line: words and captions, bare sound, a microphone, and what is refused."""

import io
import json
import queue
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnkit
from rnnkit.cli import main
from rnnkit.cli.captions import caption_file, captions
from rnnkit.data.audio import read_audio
from rnnkit.data.samples import sample_path
from rnnkit.tasks.speech import SpokenWord

SAMPLE = sample_path("digits")
WAV = SAMPLE.parent / "wav" / "5_theo_11.wav"
SMALL: dict[str, Any] = {"threads": 1, "device": "cpu", "precision": "32-true"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers something."""
    folder = tmp_path_factory.mktemp("speech") / "run"
    sizes = {"hidden_size": 32, "filters": 32, "num_layers": 1, "layer": "gru", "batch_size": 12}
    plain = {"augment_join": 0.0, "augment_noise": 0.0, "mask_bands": 0, "mask_time": 0.0, "dropout": 0.1}
    rnnkit.train("speech", SAMPLE, run=folder, steps=400, learning_rate=0.01, **plain, **sizes, **SMALL)
    return folder


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "text.txt").write_text("one two three four five six seven eight nine zero\n" * 50)
    rnnkit.train("lm", folder / "text.txt", run=folder / "run", steps=2, hidden_size=8, embedding_size=8, **SMALL)
    return folder / "run"


@pytest.fixture
def bare_sound(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The samples of a recording on standard input."""
    content = (read_audio(WAV, 8000) * 32767).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))  # type: ignore[arg-type]
    return content


def test_one_recording_is_a_line_and_a_list_names_each(run: Path, capsys: Any):
    assert main(["predict", str(run), str(WAV)]) == 0
    alone = capsys.readouterr().out.rstrip("\n")
    assert main(["predict", str(run), str(SAMPLE), "--quiet"]) == 0
    lines = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert len(lines) == 40
    assert lines[str(WAV)] == alone


def test_a_recording_that_cannot_be_read_is_named_by_itself(run: Path, tmp_path: Path, capsys: Any):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(WAV.read_bytes()[:400])
    assert main(["predict", str(run), str(broken)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rnnkit: {broken}: the file is truncated: of ")
    assert "rows" not in error


def test_what_the_model_has_no_letters_for_is_counted(run: Path, tmp_path: Path, capsys: Any):
    path = tmp_path / "odd.tsv"
    path.write_text(f"path\ttext\n{WAV}\tf\u00efve\n")
    assert main(["evaluate", str(run), str(path)]) == 0
    assert "1 of 4 tokens are none of the model's: it cannot say them" in capsys.readouterr().out


def test_words_have_times(run: Path, capsys: Any):
    assert main(["predict", str(run), str(WAV), "--timestamps"]) == 0
    assert "confidence" in capsys.readouterr().out
    assert main(["predict", str(run), str(WAV), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seconds"] == pytest.approx(len(read_audio(WAV, 8000)) / 8000, abs=1e-3)
    assert all(0 <= word["start"] < word["end"] <= found["seconds"] for word in found["words"])


def test_readings_are_ranked(run: Path, capsys: Any):
    assert main(["predict", str(run), str(WAV), "--beam", "4", "--alternatives", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = [one["score"] for one in found["alternatives"]]
    assert scores == sorted(scores, reverse=True)
    assert found["alternatives"][0]["text"] == found["text"]


def test_captions_are_written(run: Path, tmp_path: Path):
    files = [tmp_path / "a.srt", tmp_path / "a.vtt"]
    assert main(["predict", str(run), str(WAV), "--srt", str(files[0]), "--vtt", str(files[1])]) == 0
    assert files[0].read_text().startswith("1\n00:00:00,")
    assert files[1].read_text().startswith("WEBVTT\n\n1\n00:00:00.")


def test_captions_break_at_pauses_and_where_they_grow_long():
    words = [SpokenWord(f"word{place}", place * 0.5, place * 0.5 + 0.4, 1.0) for place in range(40)]
    words.append(SpokenWord("late & <last>", 3700.0, 3700.5, 1.0))
    groups = captions(words)
    assert [word for group in groups for word in group] == words
    assert all(group[-1].end - group[0].start <= 6 for group in groups)
    assert groups[-1] == words[-1:]
    assert caption_file(words, webvtt=False).endswith("01:01:40,000 --> 01:01:40,500\nlate & <last>\n")
    assert caption_file(words, webvtt=True).endswith("01:01:40.000 --> 01:01:40.500\nlate &amp; &lt;last&gt;\n")


@pytest.mark.usefixtures("bare_sound")
def test_bare_sound_is_followed(run: Path, capsys: Any):
    assert main(["stream", str(run), "--json"]) == 0
    captured = capsys.readouterr()
    events = [json.loads(line) for line in captured.out.splitlines()]
    assert events[-1]["kind"] == "final"
    assert events[-1]["reason"] == "the end"
    assert "real-time factor" in captured.err
    main(["predict", str(run), str(WAV)])
    assert events[-1]["text"] == capsys.readouterr().out.rstrip("\n")


def test_a_microphone_is_followed_until_ctrl_c(run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    sound = read_audio(WAV, 8000)

    class Input:
        def __init__(self, *, samplerate: int, channels: int, dtype: str, callback: Any) -> None:
            assert (samplerate, channels, dtype) == (8000, 1, "float32")
            self.callback = callback

        def __enter__(self) -> None:
            for first in range(0, len(sound), 500):
                self.callback(sound[first : first + 500, None], 500, None, None)

        def __exit__(self, *_: object) -> None: ...

    class Queue(queue.Queue[np.ndarray]):
        def get(self, block: bool = True, timeout: float | None = None) -> np.ndarray:
            if self.empty():
                raise KeyboardInterrupt
            return super().get(block, timeout)

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(InputStream=Input, PortAudioError=OSError))
    monkeypatch.setattr(queue, "Queue", Queue)
    assert main(["stream", str(run), "--microphone"]) == 0
    heard = capsys.readouterr().out.split(maxsplit=1)[1].rstrip("\n")
    main(["predict", str(run), str(WAV)])
    assert heard == capsys.readouterr().out.rstrip("\n")


def test_a_missing_microphone_says_what_to_install(run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["stream", str(run), "--microphone"]) == 2
    assert "pip install 'rnnkit[speech]'" in capsys.readouterr().err


def test_evaluate_names_the_worst_and_draws_the_confusions(run: Path, language: Path, capsys: Any):
    assert main(["evaluate", str(run), str(SAMPLE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"nats", "wer", "cer", "ser"} == found["metrics"].keys()
    assert found["baselines"]["nearest recording"].keys() == {"wer", "cer", "ser"}
    assert any("digits.tsv:" in line and "heard" in line for line in found["remarks"])
    (picture,) = found["pictures"]
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    words = ["--language-model", str(language), "--language-weight", "0.1", "--beam", "3"]
    for more in ([], ["--language-ngram"]):
        assert main(["evaluate", str(run), str(SAMPLE), "--json", *words, *more]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"]["nats"] == found["metrics"]["nats"]


def test_inspect_looks_recordings_over(capsys: Any, tmp_path: Path):
    assert main(["inspect", "speech", str(SAMPLE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sizes"] == {"training": 40}
    assert found["formats"] == {"8,000 samples a second, 1 channels": 40}
    assert found["words"] == 10
    assert main(["inspect", "speech", str(SAMPLE), "--valid", str(SAMPLE)]) == 0
    assert "In validation and in training: 40" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "RUN", "nothere.wav"], "'nothere.wav' is no file; expected a recording"),
        (["predict", "RUN", str(SAMPLE), "--srt", "a.srt"], "captions are of one recording, and 40 are given"),
        (["predict", "RUN", str(WAV), "--vtt", "nowhere/a.vtt"], "there is no folder nowhere"),
        (["predict", "RUN", str(WAV), "--alternatives", "3"], "--alternatives 3 needs a beam"),
        (["predict", "RUN", str(WAV), "--bonus", "1"], "--bonus is for a --language-model"),
        (["predict", "RUN", str(WAV), "--hot-weight", "1"], "--hot-weight is for a --hot-word"),
        (["predict", "RUN", str(WAV), "--language-model", "RUN"], "is a speech model; expected a language-model"),
        (["predict", "RUN", str(WAV), "--horizon", "3"], "--horizon is for a forecaster"),
        (["predict", "RUN", str(WAV), "--prefix", "a"], "--prefix is for a translator"),
        (["predict", "LM", "text", "--timestamps"], "--timestamps is for a recogniser of speech"),
        (["predict", "LM", "text", "--beam", "3"], "--beam is for a translator or recogniser of speech"),
        (["stream", "LM", "--microphone"], "--microphone is for a recogniser of speech"),
        (["evaluate", "LM", "--hot-word", "x"], "--hot-word is for a recogniser of speech"),
        (["stream", "RUN", "--silence", "0"], "silence_seconds is 0"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], message: str, run: Path, language: Path, capsys: Any):
    assert main([{"RUN": str(run), "LM": str(language)}.get(word, word) for word in words]) == 2
    assert message in capsys.readouterr().err
