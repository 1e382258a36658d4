"""`rnnkit stream`: follow standard input, or a microphone, live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from rnnkit.cli.answering import NO_FUSION, SPEECH, open_model
from rnnkit.cli.forecasts import stream_series
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, Common, Machine, arriving_sound, arriving_text, option_words
from rnnkit.cli.output import bar, print_json
from rnnkit.cli.transcripts import FusionOptions, ListeningOptions, stream_speech
from rnnkit.errors import ConfigError
from rnnkit.streaming import Stream
from rnnkit.tasks import Forecasting, SeriesClassification, SpeechRecognition
from rnnkit.tasks.language_model import TokenEvent
from rnnkit.tasks.series_classification import StepEvent
from rnnkit.tasks.series_classification.stream import parse_points
from rnnkit.tasks.tagging import TagEvent
from rnnkit.tasks.text_classification import ScoreEvent

NO_LISTENING = ListeningOptions()


def stream(
    model: Path,
    /,
    *,
    candidates: int = 3,
    lines: Annotated[bool, Parameter(negative=())] = False,
    listening: Annotated[ListeningOptions, Parameter(name="*", group=SPEECH)] = NO_LISTENING,
    fusion: Annotated[FusionOptions, Parameter(name="*", group=SPEECH)] = NO_FUSION,
    beam: Annotated[int | None, Parameter(group=SPEECH)] = None,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Follow standard input live: for each token its surprise and what is likely next, the label so far, or its tag.

    Of series a line is a point, as [0.1, 0.2], or a list of points; an empty line ends a series. A model of recordings,
    and a recogniser of speech, take sound: 16-bit little-endian samples of one channel, at the model's sample rate.

    Args:
        model: A run or model folder.
        candidates: How many possible answers to name.
        lines: Begin anew with every line: it is a text, or a series, of its own.
        listening: Of a recogniser: where sound comes from, and when a text is final.
        fusion: Of a recogniser: what else has a say.
        beam: Of a recogniser: readings kept in the search.
        common: How to report.
        machine: Where to compute.
    """
    if candidates < 1:
        raise ConfigError(f"candidates is {candidates}; expected at least 1")
    task = open_model(model, machine)
    if isinstance(task, SpeechRecognition):
        stream_speech(task, beam=beam, fusion=fusion, options=listening, common=common)
        return
    spoken = [*listening.given, *fusion.given, *(["beam"] if beam is not None else [])]
    if spoken:
        raise ConfigError(f"{option_words(spoken[0])} is for a recogniser of speech; {model} is a {task.name} model")
    if isinstance(task, SeriesClassification):
        _stream_series(task, candidates, lines=lines, common=common)
        return
    if isinstance(task, Forecasting):
        stream_series(task, common)
        return
    live = task.stream(candidates=candidates)
    for chunk in arriving_text():
        _show_events(live.push(chunk.rstrip("\n") if lines else chunk), common)
        if lines and chunk.endswith("\n"):
            _end(live, common)
            live.reset()
    _end(live, common)


def _stream_series(task: SeriesClassification, candidates: int, *, lines: bool, common: Common) -> None:
    """Follow sound, or a JSON point a line; an empty line ends a series, and with `lines` every line is one."""
    live = task.stream(candidates=candidates, continuous=not lines)
    if task.hears and not lines:
        for chunk in arriving_sound(task.config.sample_rate):
            _show_events(live.push(chunk), common)
        _end(live, common)
        return
    for number, line in enumerate(arriving_text(longest=-1), start=1):
        if line.strip():
            points = parse_points(line, key=task.config.values_key, where=f"standard input, line {number}")
            _show_events(live.push(points), common)
        if lines or not line.strip():
            _end(live, common)
            live.reset()
    _end(live, common)


def _end(live: Stream, common: Common) -> None:
    _show_events(live.finish(), common)


def _show_events(events: Sequence[Any], common: Common) -> None:
    for event in events:
        if common.json:
            print_json(event)
        else:
            print(_event_line(event), flush=True)


def _event_line(event: TokenEvent | ScoreEvent | StepEvent | TagEvent) -> str:
    if isinstance(event, TagEvent):
        found = f"  => {event.entity}" if event.entity else ""
        return f"{event.text}\t{event.tag}\t{event.probability:6.1%}  {bar(event.probability)}{found}"
    if isinstance(event, StepEvent):
        fired = f"  => {event.label}" if event.fired else ""
        return f"{event.step}\t{event.label}\t{event.probability:6.1%}  {bar(event.probability)}{fired}"
    if isinstance(event, ScoreEvent):
        return f"{event.token}\t{event.label}\t{event.probability:6.1%}  {bar(event.probability)}"
    following = "  ".join(f"{one.token} {one.probability:.0%}" for one in event.next)
    return f"{event.token}\t{event.bits:6.2f} bits\tnext: {following}"
