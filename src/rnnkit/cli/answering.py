"""`rnnkit predict`: answer what is given."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Group, Parameter
from rich.markup import escape

from rnnkit.checkpoint import load
from rnnkit.cli.forecasts import ForecastOptions, predict_series
from rnnkit.cli.options import (
    ANY_MACHINE,
    AS_TABLES,
    USUAL_SEARCH,
    Common,
    Machine,
    Searching,
    given_inputs,
    option_words,
)
from rnnkit.cli.output import bar, print_json, print_rows
from rnnkit.cli.transcripts import (
    FusionOptions,
    TranscriptOptions,
    transcribe_recordings,
)
from rnnkit.cli.translations import TranslationOptions, translate_texts
from rnnkit.data.schemes import OUTSIDE
from rnnkit.errors import ConfigError
from rnnkit.tasks import (
    Forecasting,
    LanguageModel,
    SeriesClassification,
    SpeechRecognition,
    Tagging,
    Task,
    TextClassification,
    Translator,
)
from rnnkit.tasks.language_model import TextScore
from rnnkit.tasks.series_classification import SeriesLabel
from rnnkit.tasks.tagging import TaggedText
from rnnkit.tasks.text_classification import TextLabel
from rnnkit.training.machine import choose_device

FORECASTS, TRANSLATIONS = Group("Of forecasters", sort_key=2), Group("Of translators", sort_key=3)
SPEECH, SEARCHES = Group("Of recognisers of speech", sort_key=4), Group("Of translators and recognisers", sort_key=5)
NO_FORECAST, NO_TRANSLATION, NO_TRANSCRIPT = ForecastOptions(), TranslationOptions(), TranscriptOptions()
NO_FUSION = FusionOptions()
MOST_ROWS = 100  # of a table of tokens; --json prints all
MANY_INPUTS = 2000  # answered at a time, so that the first answers of a large file come soon
SHOWN_CHARACTERS = 80  # of a text in a table


def open_model(model: Path, machine: Machine) -> Task:
    """Load a model onto the machine that was asked for."""
    if machine.threads is not None:
        if machine.threads < 1:
            raise ConfigError(f"threads is {machine.threads}; expected at least 1")
        torch.set_num_threads(machine.threads)
    return load(model, device=choose_device(machine.device))


def predict(
    model: Path,
    words: str | None = None,
    /,
    *,
    text: str | None = None,
    file: Path | None = None,
    stdin: Annotated[bool, Parameter(name=("--stdin", "-"), negative=())] = False,
    candidates: int = 10,
    early: Annotated[bool, Parameter(negative=())] = False,
    output: Path | None = None,
    forecast: Annotated[ForecastOptions, Parameter(name="*", group=FORECASTS)] = NO_FORECAST,
    translation: Annotated[TranslationOptions, Parameter(name="*", group=TRANSLATIONS)] = NO_TRANSLATION,
    transcript: Annotated[TranscriptOptions, Parameter(name="*", group=SPEECH)] = NO_TRANSCRIPT,
    fusion: Annotated[FusionOptions, Parameter(name="*", group=SPEECH)] = NO_FUSION,
    searching: Annotated[Searching, Parameter(name="*", group=SEARCHES)] = USUAL_SEARCH,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Answer a text, or everything in a file: score it token by token, label it, tag its words; or forecast series.

    Args:
        model: A run or model folder.
        words: A text, or a file if one has this name.
        text: A text, even if a file has this name.
        file: A file.
        stdin: Read standard input.
        candidates: How many possible answers to name.
        early: Of series: also say when the answer was safe to give, and which it was.
        output: Of a forecaster: write the forecasts into this file, .csv, .json or .parquet; of a translator: the
            translations, a line each.
        forecast: Of a forecaster: how far, and a picture.
        translation: Of a translator: how to search, and what to say besides.
        transcript: Of a recogniser: what to say besides.
        fusion: Of a recogniser: what else has a say.
        searching: Of a translator or recogniser: how widely to search.
        common: How to report.
        machine: Where to compute.
    """
    if candidates < 1:
        raise ConfigError(f"candidates is {candidates}; expected at least 1")
    task = open_model(model, machine)
    spoken = [*transcript.given, *fusion.given]
    _refuse_others(task, model, forecast=forecast, translation=translation.given, speech=spoken, searching=searching)
    if output is not None and not isinstance(task, (Forecasting, Translator)):
        raise ConfigError(f"--output is for a forecaster or a translator; {model} is a {task.name} model")
    if early and not (isinstance(task, SeriesClassification) and task.decides_early):
        raise ConfigError(f"--early is for models of series that can stream; {model} cannot, or is a {task.name} model")
    if isinstance(task, Forecasting):
        predict_series(task, text or words, file=file, options=forecast, output=output, common=common)
        return
    inputs, typed = given_inputs(task, words, text=text, file=file, stdin=stdin)
    if isinstance(task, Translator):
        translate_texts(
            task, inputs, typed=typed, searching=searching, options=translation, output=output, common=common
        )
        return
    if isinstance(task, SpeechRecognition):
        transcribe_recordings(task, inputs, searching=searching, fusion=fusion, options=transcript, common=common)
        return
    if isinstance(task, LanguageModel):
        warn_unknown(task, "".join(inputs))
    for results in _answers(task, inputs, typed, candidates):
        if common.json:
            for result in results:
                print_json(result)
        else:
            _show(task, results, typed=typed, early=early)


def _show(task: Task, results: Sequence[Any], *, typed: bool, early: bool) -> None:
    if isinstance(task, SeriesClassification):
        _show_series(results, early=early)
    elif isinstance(task, TextClassification):
        _show_labels(results, typed)
    elif isinstance(task, Tagging):
        _show_tags(results, typed)
    else:
        _show_scores(results)


def _refuse_others(
    task: Task,
    model: Path,
    *,
    forecast: ForecastOptions,
    translation: Sequence[str],
    speech: Sequence[str],
    searching: Searching,
) -> None:
    """Refuse options that are for models of another kind."""
    given = [] if isinstance(task, Forecasting) else [(name, "forecaster") for name in forecast.given]
    if not isinstance(task, Translator):
        given += [(option_words(name), "translator") for name in translation]
    if not isinstance(task, SpeechRecognition):
        given += [(option_words(name), "recogniser of speech") for name in speech]
    if not isinstance(task, (Translator, SpeechRecognition)):
        given += [(option_words(name), "translator or recogniser of speech") for name in searching.given]
    if given:
        name, kind = given[0]
        raise ConfigError(f"{name} is for a {kind}; {model} is a {task.name} model")


def _answers(task: Task, inputs: Sequence[Any], typed: bool, candidates: int) -> Iterable[list[Any]]:
    for first in range(0, len(inputs), MANY_INPUTS):
        some = inputs[first : first + MANY_INPUTS]
        if isinstance(task, (TextClassification, SeriesClassification)):
            yield task.predict(some, candidates=candidates, running=None if typed else False)
        elif isinstance(task, Tagging):
            yield task.predict(some, candidates=candidates if typed else 1)
        else:
            yield task.predict(some, candidates=candidates)


def _show_scores(results: Sequence[TextScore]) -> None:
    """Print each token of a text with its probability, and what is likely to follow."""
    for result in results:
        rows = [
            (escape(token.token), f"{token.probability:.2%}", f"{token.nats / math.log(2):.2f}", bar(token.probability))
            for token in result.tokens[:MOST_ROWS]
        ]
        if rows:
            title = f"{len(result.tokens):,} tokens: {result.bits_per_character:.3f} bits a character, "
            heads = ("token", "probability", "bits", "")
            print_rows(f"{title}perplexity {result.perplexity:.2f} a token", heads, rows)
        _say_more(len(result.tokens))
        following = [(escape(one.token), f"{one.probability:.2%}", bar(one.probability)) for one in result.next]
        print_rows("what is likely to follow", ("token", "probability", ""), following)


def _show_labels(results: Sequence[TextLabel], typed: bool) -> None:
    """Print the labels of one text with the answer after each token, or a line for each of many texts."""
    if not typed:
        rows = [
            (escape(", ".join(one.labels) or "none"), f"{one.probability:.1%}", escape(_beginning(one.text)))
            for one in results
        ]
        print_rows(f"texts: {len(rows):,}", ("label", "probability", "text"), rows, left=("text",))
        return
    (result,) = results
    if result.running:
        rows = [
            (escape(one.token), escape(one.label), f"{one.probability:.1%}", bar(one.probability))
            for one in result.running[:MOST_ROWS]
        ]
        print_rows("the answer after each token", ("token", "label", "probability", ""), rows)
        _say_more(len(result.running))
    listed = [(escape(one.label), f"{one.probability:.1%}", bar(one.probability)) for one in result.candidates]
    labels = ", ".join(result.labels) or "none"
    print_rows(f"answer: {labels}", ("label", "probability", ""), listed)
    if result.unknown:
        print(f"{result.unknown} of its tokens are not in the vocabulary, read as <unk>")


def _show_tags(results: Sequence[TaggedText], typed: bool) -> None:
    """Print the words, entities and other readings of one text, or each of many texts with its tags in it."""
    if not typed:
        for one in results:
            print(_with_entities(one) if one.entities else _with_tags(one))
        return
    (result,) = results
    rows = [
        (escape(word.text), escape(word.tag), f"{word.probability:.1%}", bar(word.probability))
        for word in result.words[:MOST_ROWS]
    ]
    print_rows(f"words: {len(result.words):,}", ("word", "tag", "probability", ""), rows, left=("tag",))
    _say_more(len(result.words))
    if result.entities:
        found = [
            (escape(one.text), escape(one.label), f"{one.probability:.1%}", f"{one.start}-{one.end}")
            for one in result.entities
        ]
        print_rows(f"entities: {len(found):,}", ("text", "label", "probability", "characters"), found, left=("label",))
    for reading in result.readings:
        print(f"{reading.probability:6.1%}  {' '.join(reading.tags)}")


def _with_entities(one: TaggedText) -> str:
    """Write a text with brackets around its entities."""
    parts, place = [], 0
    for entity in one.entities:
        parts += [one.text[place : entity.start], f"[{entity.text} | {entity.label}]"]
        place = entity.end
    return "".join([*parts, one.text[place:]])


def _with_tags(one: TaggedText) -> str:
    """Write each word of a text with its tag, where tags stand for themselves; else the text, which has no entity."""
    outside = all(word.tag == OUTSIDE for word in one.words)
    return one.text if outside else " ".join(f"{word.text}/{word.tag}" for word in one.words)


def _show_series(results: Sequence[SeriesLabel], *, early: bool) -> None:
    """Print a line for each series, and when its answer was safe to give."""
    rows = [
        (
            str(number),
            escape(one.label),
            f"{one.probability:.1%}",
            f"{one.steps:,}",
            *(_early_cells(one) if early else ()),
        )
        for number, one in enumerate(results, start=1)
    ]
    heads = ("series", "label", "probability", "steps", *(("early label", "safe after") if early else ()))
    print_rows(f"series: {len(rows):,}", heads, rows, left=("label", "early label"))


def _early_cells(one: SeriesLabel) -> tuple[str, str]:
    if one.early_step is None:
        return "", "never"
    return escape(one.early_label or ""), f"{one.early_step:,} ({one.early_step / one.steps:.0%})"


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"


def _say_more(count: int) -> None:
    if count > MOST_ROWS:
        print(f"... and {count - MOST_ROWS:,} more; --json prints all of them")


def warn_unknown(task: LanguageModel, text: str) -> None:
    """Name the words or characters of a text that a language model does not know, on standard error."""
    unknown = task.unknown_in(text)
    if unknown:
        shown = ", ".join(repr(part) for part in unknown[:10])
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        print(f"not in the model's vocabulary, read as <unk>: {shown}{more}", file=sys.stderr)
