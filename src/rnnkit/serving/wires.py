"""What each task takes and gives over the wire: requests, stream options, chunks, and examples of them."""

from __future__ import annotations

import base64
import io
import wave
from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel

from rnnkit.data.audio import read_audio
from rnnkit.decoding.beam import Beam
from rnnkit.errors import DataError
from rnnkit.serving.requests import (
    MOST_CANDIDATES,
    ForecastRequest,
    ForecastStreamOptions,
    LabelRequest,
    Recording,
    SeriesRequest,
    SeriesStreamOptions,
    SpeechStreamOptions,
    StreamOptions,
    TagRequest,
    TextRequest,
    TranscriptionRequest,
    TranslationRequest,
)
from rnnkit.streaming import Stream
from rnnkit.tasks import TASKS, Task
from rnnkit.tasks.forecasting import Forecast, TickEvent
from rnnkit.tasks.language_model import TextScore, TokenEvent
from rnnkit.tasks.series_classification import SeriesLabel, StepEvent
from rnnkit.tasks.speech import Endpoints, Search, SpeechEvent, Transcript
from rnnkit.tasks.tagging import TagEvent, TaggedText
from rnnkit.tasks.text_classification import ScoreEvent, TextLabel
from rnnkit.tasks.translation import Translation


class Wire(ABC):
    """What a task takes and gives."""

    request: ClassVar[type[BaseModel]]
    result: ClassVar[type]
    options: ClassVar[type[BaseModel]] = StreamOptions
    event: ClassVar[type | None] = None
    binary: ClassVar[str] = "UTF-8 text"
    """What a binary message of a stream holds."""

    def predict(self, task: Any, request: Any) -> list[Any]:
        """Answer a request."""
        return task.predict(request.inputs, candidates=request.candidates)

    def stream(self, task: Any, options: Any) -> Stream:
        """Begin a stream, or raise a ConfigError that says why the model has none."""
        return task.stream(**options.model_dump())

    def chunk(self, task: Any, value: Any) -> Any:
        """Check what a message pushes, from JSON; a DataError says what was expected."""
        del task
        if not isinstance(value, str):
            raise DataError(f"push holds {_kind(value)}; expected text")
        return value

    def bytes_chunk(self, task: Any, message: bytes) -> Any:
        """Turn a binary message into what is pushed."""
        del task
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"the message holds the byte 0x{message[error.start]:02x}, which is not UTF-8") from None

    @abstractmethod
    def example(self, task: Any) -> dict[str, Any]:
        """Return a request that the model can answer."""

    def pushes(self, task: Any) -> list[Any]:
        """Return what an example pushes, from JSON."""
        return [" ".join(self.example(task)["inputs"][0].split()[:8])]

    def facts(self, task: Any) -> dict[str, Any]:
        """Say what a client must know of a model."""
        del task
        return {}


class LanguageWire(Wire):
    """Of language models."""

    request, result, event = TextRequest, TextScore, TokenEvent

    def example(self, task: Any) -> dict[str, Any]:
        del task
        return {"inputs": ["To be, or not to be"], "candidates": 3}


class LabelWire(Wire):
    """Of classifiers of texts."""

    request, result, event = LabelRequest, TextLabel, ScoreEvent

    def predict(self, task: Any, request: Any) -> list[Any]:
        running = None if request.running else False
        return task.predict(request.inputs, candidates=request.candidates, running=running)

    def example(self, task: Any) -> dict[str, Any]:
        del task
        return {"inputs": ["A slow start, then pure joy."], "candidates": 2}

    def facts(self, task: Any) -> dict[str, Any]:
        return {"labels": list(task.labels.names)}


class TagWire(Wire):
    """Of taggers."""

    request, result, event = TagRequest, TaggedText, TagEvent

    def example(self, task: Any) -> dict[str, Any]:
        del task
        return {"inputs": ["Angela Merkel visited Toyota in Nagoya ."]}

    def facts(self, task: Any) -> dict[str, Any]:
        return {"tags": list(task.tags.names), "lag": task.config.lag}


class TranslationWire(Wire):
    """Of translators."""

    request, result = TranslationRequest, Translation

    def predict(self, task: Any, request: Any) -> list[Any]:
        beam = Beam(size=request.beam)
        return task.predict(request.inputs, candidates=request.candidates, beam=beam, align=request.align)

    def example(self, task: Any) -> dict[str, Any]:
        del task
        return {"inputs": ["He is my brother."], "align": True}


class ForecastWire(Wire):
    """Of forecasters."""

    request, result, event = ForecastRequest, Forecast, TickEvent
    options = ForecastStreamOptions
    binary = "64-bit little-endian floats, a value a step; NaN is a missing one"

    def predict(self, task: Any, request: Any) -> list[Any]:
        return task.predict(request.inputs, horizon=request.horizon)

    def chunk(self, task: Any, value: Any) -> Any:
        del task
        values = [value] if isinstance(value, (int, float)) or value is None else value
        if not isinstance(values, list) or not all(_is_number(one) for one in values):
            raise DataError(f"push holds {_kind(value)}; expected a number a step, null where one is missing")
        return values

    def bytes_chunk(self, task: Any, message: bytes) -> Any:
        del task
        return _floats(message, "<f8")

    def example(self, task: Any) -> dict[str, Any]:
        return {"inputs": task.memory.names[:1].tolist(), "horizon": 1}

    def pushes(self, task: Any) -> list[Any]:
        return [[float(one) for one in np.nan_to_num(task.recent(task.memory.names[0])[-3:])]]

    def facts(self, task: Any) -> dict[str, Any]:
        names = task.memory.names.tolist()
        return {"series": names[:MOST_CANDIDATES], "series_count": len(names), "horizon": task.config.horizon}


class SeriesWire(Wire):
    """Of classifiers of series."""

    request, result, event = SeriesRequest, SeriesLabel, StepEvent
    options = SeriesStreamOptions
    binary = (
        "32-bit little-endian floats, points of a number a channel, NaN where one is missing; of a model of recordings "
        "16-bit little-endian samples of one channel"
    )

    def predict(self, task: Any, request: Any) -> list[Any]:
        inputs = [_sound(one, task.config.sample_rate) if isinstance(one, Recording) else one for one in request.inputs]
        return task.predict(inputs, candidates=request.candidates, running=None if request.running else False)

    def chunk(self, task: Any, value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise DataError(f"push holds {_kind(value)}; expected a point, as [0.1, 0.2], or a list of points")
        if task.hears:
            return np.asarray(value, dtype=np.float32)
        points = value if isinstance(value[0], list) else [value]
        if not all(isinstance(point, list) and all(_is_number(one) for one in point) for point in points):
            raise DataError("push holds a point that is no list of numbers; expected a number a channel, or null")
        return points

    def bytes_chunk(self, task: Any, message: bytes) -> Any:
        if task.hears:
            return _samples(message)
        channels = len(task.means)
        if len(message) % (4 * channels):
            raise DataError(f"the message has {len(message)} bytes; expected {4 * channels} a point")
        return _floats(message, "<f4").reshape(-1, channels)

    def example(self, task: Any) -> dict[str, Any]:
        if task.hears:
            return {"inputs": [{"audio": _example_audio(task.config.sample_rate)}]}
        means = [float(f"{one:.4g}") for one in task.means]
        return {"inputs": [[means] * 12]}

    def pushes(self, task: Any) -> list[Any]:
        return [[0.0] * 400] if task.hears else self.example(task)["inputs"][0][:4]

    def facts(self, task: Any) -> dict[str, Any]:
        heard = {"sample_rate": task.config.sample_rate} if task.hears else {}
        facts = {"labels": list(task.labels.names), "channels": len(task.means), "stride": task.stride}
        return {**facts, **heard, "null_label": task.config.null_label}


class SpeechWire(Wire):
    """Of recognisers of speech."""

    request, result, event = TranscriptionRequest, Transcript, SpeechEvent
    options = SpeechStreamOptions
    binary = "16-bit little-endian samples of one channel, at the model's sample rate"

    def predict(self, task: Any, request: Any) -> list[Any]:
        inputs = [_sound(one, task.sample_rate) for one in request.inputs]
        search = Search(beam=request.beam, hot_words=tuple(request.hot_words))
        return task.predict(inputs, candidates=request.candidates, search=search)

    def stream(self, task: Any, options: Any) -> Stream:
        ends = Endpoints(options.silence_seconds, options.empty_seconds, options.longest_seconds)
        return task.stream(search=Search(beam=options.beam, hot_words=tuple(options.hot_words)), endpoints=ends)

    def chunk(self, task: Any, value: Any) -> Any:
        del task
        if not isinstance(value, list) or not all(_is_number(one) and one is not None for one in value):
            raise DataError(f"push holds {_kind(value)}; expected samples in [-1, 1], or a binary message of them")
        return np.asarray(value, dtype=np.float32)

    def bytes_chunk(self, task: Any, message: bytes) -> Any:
        del task
        return _samples(message)

    def example(self, task: Any) -> dict[str, Any]:
        return {"inputs": [{"audio": _example_audio(task.sample_rate)}]}

    def pushes(self, task: Any) -> list[Any]:
        del task
        return [[0.0] * 400]

    def facts(self, task: Any) -> dict[str, Any]:
        return {"sample_rate": task.sample_rate}


WIRES: dict[str, Wire] = {
    "language-model": LanguageWire(),
    "text-classification": LabelWire(),
    "tagging": TagWire(),
    "translation": TranslationWire(),
    "forecasting": ForecastWire(),
    "series-classification": SeriesWire(),
    "speech": SpeechWire(),
}


def wire_of(task: Task) -> Wire:
    """Return what a task's model takes and gives."""
    assert WIRES.keys() == TASKS.keys()
    return WIRES[task.name]


def _kind(value: Any) -> str:
    words = {str: "text", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _floats(message: bytes, kind: str) -> np.ndarray:
    size = np.dtype(kind).itemsize
    if len(message) % size:
        raise DataError(f"the message has {len(message)} bytes; expected {size} a number")
    return np.frombuffer(message, dtype=kind)


def _samples(message: bytes) -> np.ndarray:
    return _floats(message, "<i2").astype(np.float32) / 32768


def _sound(recording: Recording, sample_rate: int) -> np.ndarray:
    try:
        content = base64.b64decode(recording.audio, validate=True)
    except ValueError as error:  # also binascii.Error
        raise DataError(f"audio is not base64 ({error})") from None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "audio"
        path.write_bytes(content)
        try:
            return read_audio(path, sample_rate)
        except DataError as error:
            raise DataError(str(error).replace(str(path), "audio")) from None


def _example_audio(sample_rate: int) -> str:
    """Return half a second of silence as a .wav file in base64."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(bytes(sample_rate))
    return base64.b64encode(content.getvalue()).decode()
