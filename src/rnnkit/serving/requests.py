"""What clients may ask: the bodies of requests and the options of streams, checked and described by pydantic."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rnnkit.tasks.speech import Endpoints

MOST_CANDIDATES = 100
Candidates = Annotated[int, Field(ge=1, le=MOST_CANDIDATES, description="Possible answers to name.")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Value = Number | None
Size = Annotated[int, Field(ge=1, description="Hypotheses kept in the search.")]


class Body(BaseModel):
    """What every request has: nothing that is unknown."""

    model_config = ConfigDict(extra="forbid")


class TextRequest(Body):
    """Texts to answer."""

    inputs: list[str] = Field(min_length=1, description="Texts.")
    candidates: Candidates = 10


class LabelRequest(TextRequest):
    """Texts, or series, to label."""

    running: bool = Field(False, description="Whether to give the answer after each token too.")


class TagRequest(Body):
    """Texts to tag."""

    inputs: list[str | list[str]] = Field(min_length=1, description="Texts, or sentences as lists of words.")
    candidates: Candidates = 1


class Recording(Body):
    """A recording."""

    audio: str = Field(description="A .wav, .flac or .ogg file, in base64.")


class SeriesRequest(Body):
    """Series to label."""

    inputs: list[list[list[Value] | Value] | Recording] = Field(
        min_length=1, description="Series: points of a number a channel, or recordings; null is a missing value."
    )
    candidates: Candidates = 10
    running: bool = Field(False, description="Whether to give the answer after each step too.")


class TranscriptionRequest(Body):
    """Recordings to transcribe."""

    inputs: list[Recording] = Field(min_length=1)
    candidates: Candidates = Field(1, description="Readings to name; more than one needs a beam.")
    beam: Size = 1
    hot_words: list[str] = Field(default=[], description="Words to look out for; they need a beam.")


class TranslationRequest(Body):
    """Texts to translate."""

    inputs: list[str] = Field(min_length=1)
    candidates: Candidates = Field(1, description="Translations to name of each.")
    beam: Size = 5
    align: bool = Field(False, description="Whether to say what was looked at for each token.")


class ForecastRequest(Body):
    """Series to forecast."""

    inputs: list[str | list[Value]] | None = Field(
        None, description="Names of known series, or values of unknown ones; null forecasts all that are known."
    )
    horizon: int | None = Field(None, ge=1, description="Steps; null is as many as the model was trained for.")


class StreamOptions(Body):
    """Of every stream."""

    candidates: Annotated[int, Field(ge=0, le=MOST_CANDIDATES, description="Possible answers that an event names.")] = 3


class SeriesStreamOptions(StreamOptions):
    """Of a stream of series."""

    continuous: bool = Field(False, description="Whether one series follows another.")


class SpeechStreamOptions(Body):
    """Of a stream of speech."""

    beam: Size = 1
    hot_words: list[str] = Field(default=[], description="Words to look out for; they need a beam.")
    silence_seconds: float = Field(Endpoints.silence_seconds, gt=0, description="A text is final after such a silence.")
    empty_seconds: float = Field(Endpoints.empty_seconds, gt=0, description="One in which nothing is said begins anew.")
    longest_seconds: float = Field(Endpoints.longest_seconds, gt=0, description="A text is final after so long.")


class ForecastStreamOptions(Body):
    """Of a stream of observations."""

    series: str | None = Field(None, description="A known series to go on with; null begins a new one.")
