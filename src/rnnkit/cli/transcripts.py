"""`rnnkit predict` and `stream` for recognisers of speech: transcripts, captions, a microphone."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.markup import escape

from rnnkit.checkpoint import load, load_baseline, writing
from rnnkit.cli.captions import caption_file
from rnnkit.cli.options import Common, Searching, arriving_sound, given_options, option_words
from rnnkit.cli.output import print_json, print_rows, refuse_without_folder
from rnnkit.errors import ConfigError
from rnnkit.tasks import LanguageModel, SpeechRecognition, Task
from rnnkit.tasks.speech import Endpoints, Search, SpeechEvent, Transcript

AT_ONCE = 64  # recordings, so that the first of a long list come soon
FUSED_BEAM = 8
IDLE = ("language_ngram", "language_weight", "bonus")  # without a language model


@dataclass(frozen=True)
class FusionOptions:
    """What else has a say in what was heard."""

    language_model: Path | None = None
    """A language model of rnnkit, its run or model folder."""
    language_ngram: Annotated[bool | None, Parameter(negative=())] = None
    """Let the n-gram of the language model's run have the say in place of its network."""
    language_weight: float | None = None
    """Of the language model's log-probabilities; 0.5 unless given."""
    bonus: float | None = None
    """Added to every token, or word, that the language model judges, in nats; 0 unless given."""
    hot_word: Annotated[list[str] | None, Parameter(negative=())] = None
    """A word or phrase to look out for; may be given several times."""
    hot_weight: float | None = None
    """Nats added to each token of a hot word; 2 unless given."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return given_options(self)


@dataclass(frozen=True)
class TranscriptOptions:
    """What to say of a recording besides its text."""

    timestamps: Annotated[bool | None, Parameter(negative=())] = None
    """When each word was said, and how sure that is."""
    srt: Path | None = None
    """Write captions into this file, as SubRip."""
    vtt: Path | None = None
    """Write captions into this file, as WebVTT."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return given_options(self)


@dataclass(frozen=True)
class ListeningOptions:
    """Where sound comes from, and when a text is final."""

    microphone: Annotated[bool | None, Parameter(negative=())] = None
    """Listen to the microphone, until Ctrl-C, and not to standard input."""
    silence: float | None = None
    """A text is final after so many seconds of silence; 1.2 unless given, inf never."""
    empty_silence: float | None = None
    """Begin anew after so many seconds in which nothing was said; 2.4 unless given."""
    longest: float | None = None
    """A text is final after so many seconds in any case; 20 unless given."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return given_options(self)

    @property
    def endpoints(self) -> Endpoints:
        """When a text is final."""
        named = {"silence": "silence_seconds", "empty_silence": "empty_seconds", "longest": "longest_seconds"}
        return Endpoints(**{named[name]: getattr(self, name) for name in self.given if name in named})


def make_search(beam: int | None, options: FusionOptions, *, device: str) -> Search:
    """Say how to search for the likeliest text.

    Args:
        beam: Readings kept; None is the usual number.
        options: What else has a say.
        device: Where a language model computes.

    Returns:
        The search.

    Raises:
        ConfigError: If the options do not fit together, or the other model is no language model.
    """
    if options.language_model is None and (idle := [name for name in options.given if name in IDLE]):
        raise ConfigError(f"{option_words(idle[0])} is for a --language-model, which is not given")
    if not options.hot_word and options.hot_weight is not None:
        raise ConfigError("--hot-weight is for a --hot-word, which is not given")
    fused = options.language_model is not None or bool(options.hot_word)
    chosen: dict[str, Any] = {"beam": beam if beam is not None else FUSED_BEAM if fused else 1}
    if options.language_model is not None:
        other: Task = load(options.language_model, device=device)
        if not isinstance(other, LanguageModel):
            raise ConfigError(f"{options.language_model} is a {other.name} model; expected a language-model")
        chosen["language_model"] = other
        if options.language_ngram:
            chosen["ngram"] = load_baseline(other, options.language_model)
            if chosen["ngram"] is None:
                raise ConfigError(f"{options.language_model} keeps no n-gram; expected the run's folder")
    named = {"language_weight": options.language_weight, "bonus": options.bonus, "hot_weight": options.hot_weight}
    chosen |= {name: value for name, value in named.items() if value is not None}
    return Search(**chosen, hot_words=tuple(options.hot_word or ()))


def transcribe_recordings(
    task: SpeechRecognition,
    inputs: Sequence[Any],
    *,
    searching: Searching,
    fusion: FusionOptions,
    options: TranscriptOptions,
    common: Common,
) -> None:
    """Say what is said in recordings, a line each, or more of it.

    Args:
        task: The recogniser.
        inputs: Recordings.
        searching: How widely to search.
        fusion: What else has a say.
        options: What else to say.
        common: How to report.
    """
    refuse_without_folder(srt=options.srt, vtt=options.vtt)
    if len(inputs) > 1 and (options.srt or options.vtt):
        raise ConfigError(f"captions are of one recording, and {len(inputs)} are given; expected one")
    search = make_search(searching.beam, fusion, device=str(task.network.device))
    many = searching.alternatives or 1
    if many < 1 or (many > 1 and search.beam == 1):
        raise ConfigError(f"--alternatives {many} needs a beam of as many; expected --beam {max(many, 2)}")
    began, seconds = time.perf_counter(), 0.0
    for first in range(0, len(inputs), AT_ONCE):
        for one in task.predict(inputs[first : first + AT_ONCE], candidates=many, search=search):
            seconds += one.seconds
            _show(one, alone=len(inputs) == 1, options=options, common=common)
            for path in (options.srt, options.vtt):
                if path is not None:
                    with writing(path.parent):
                        path.write_text(caption_file(one.words, webvtt=path is options.vtt), encoding="utf-8")
    if not common.quiet and len(inputs) > 1:
        took = time.perf_counter() - began
        print(f"{seconds:.1f} s of sound in {took:.1f} s, {seconds / took:,.0f} times as fast", file=sys.stderr)


def _show(one: Transcript, *, alone: bool, options: TranscriptOptions, common: Common) -> None:
    if common.json:
        print_json(one)
        return
    print(one.text if alone else f"{one.name}\t{one.text}")
    if options.timestamps:
        rows = [
            (escape(word.text), f"{word.start:.2f}", f"{word.end:.2f}", f"{word.confidence:.0%}") for word in one.words
        ]
        print_rows(f"words: {len(rows):,}", ("word", "from (s)", "to (s)", "confidence"), rows)
    if one.alternatives:
        readings = [(escape(other.text), f"{other.score:.2f}") for other in one.alternatives]
        print_rows("readings", ("text", "score"), readings)


def stream_speech(
    task: SpeechRecognition, *, beam: int | None, fusion: FusionOptions, options: ListeningOptions, common: Common
) -> None:
    """Follow a microphone, or standard input, and say what is said as it is.

    Args:
        task: The recogniser.
        beam: Readings kept.
        fusion: What else has a say.
        options: Where sound comes from, and when a text is final.
        common: How to report.
    """
    search = make_search(beam, fusion, device=str(task.network.device))
    live = task.stream(search=search, endpoints=options.endpoints)
    source = microphone(task.sample_rate) if options.microphone else arriving_sound(task.sample_rate)
    times, heard = [], 0
    screen = _Screen(common)
    with suppress(KeyboardInterrupt) if options.microphone else nullcontext():
        for chunk in source:
            began = time.perf_counter()
            events = live.push(chunk)
            times.append(time.perf_counter() - began)
            heard += len(chunk)
            screen.show(events)
    screen.show(live.finish())
    if not common.quiet and heard:
        seconds = heard / task.sample_rate
        middle, most = np.percentile(times, [50, 99]) * 1000
        print(
            f"{seconds:.1f} s of sound, {sum(times):.2f} s of computing (real-time factor {sum(times) / seconds:.3f}); "
            f"{len(times):,} pieces, {middle:.1f} ms each in the median, {most:.1f} ms at 99 %",
            file=sys.stderr,
        )


class _Screen:
    """Where events are shown: on a terminal a partial text is written over by the next one."""

    def __init__(self, common: Common) -> None:
        self.common, self.live = common, sys.stdout.isatty()

    def show(self, events: Iterable[SpeechEvent]) -> None:
        for event in events:
            if self.common.json:
                print_json(event)
            elif self.live:
                end = "\n" if event.kind == "final" else ""
                line = self._line(event)
                shown = line if end else line[-get_terminal_size().columns + 1 :]
                print(f"\r\x1b[2K{shown}", end=end, flush=True)
            elif event.kind == "final":
                print(self._line(event), flush=True)

    def _line(self, event: SpeechEvent) -> str:
        return f"{event.start:7.2f}  {event.text}"


def microphone(sample_rate: int) -> Iterator[np.ndarray]:
    """Give what the microphone hears, as it does.

    Args:
        sample_rate: Samples a second.

    Yields:
        (samples,) float32 in [-1, 1].

    Raises:
        ConfigError: If there is no microphone, or what listens to it is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"a microphone needs what is missing here ({error}): pip install 'rnnkit[speech]', and on Debian and "
            "Ubuntu apt install libportaudio2"
        ) from None
    waiting: queue.Queue[np.ndarray] = queue.Queue()

    def take(sound: np.ndarray, *_: Any) -> None:
        waiting.put(sound[:, 0].copy())

    try:
        with sounddevice.InputStream(samplerate=sample_rate, channels=1, dtype="float32", callback=take):
            print("listening; Ctrl-C ends it", file=sys.stderr)
            while True:
                yield waiting.get()
    except sounddevice.PortAudioError as error:
        raise ConfigError(f"the microphone cannot be used ({error}); look at the system's sound settings") from None
