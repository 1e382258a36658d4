"""`rnnkit predict` for translators: texts, files, alternatives and pictures of what was looked at."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
from cyclopts import Parameter
from rich.markup import escape

from rnnkit.checkpoint import load, writing
from rnnkit.cli.options import Common, Searching, given_options
from rnnkit.cli.output import print_json, print_rows, refuse_without_folder
from rnnkit.decoding.beam import Beam
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError
from rnnkit.figures import alignment
from rnnkit.tasks import Task, Translator
from rnnkit.tasks.translation import Translation

AT_ONCE = 512  # texts, so that the first of a large file come soon
SEARCH = ("length_penalty", "coverage_penalty", "no_repeat_ngram", "minimum_length", "prefix", "include")
PENALTIES = SEARCH[:4]
DRAWING = ("temperature", "top_k", "top_p", "seed")


@dataclass(frozen=True)
class TranslationOptions:
    """How to search, and what to say besides."""

    length_penalty: float | None = None
    """How much longer translations are favoured; 1 unless given, 0 not at all."""
    coverage_penalty: float | None = None
    """Weight of a penalty on words that were looked at too little."""
    no_repeat_ngram: int | None = None
    """Never write the same n tokens in a row twice."""
    minimum_length: int | None = None
    """The fewest tokens of a translation."""
    prefix: str | None = None
    """What each translation begins with."""
    include: Annotated[list[str] | None, Parameter(negative=())] = None
    """A term that each translation holds; may be given several times."""
    temperature: float | None = None
    """Draw translations; below 1 the likelier tokens more often than the model says."""
    top_k: int | None = None
    """Draw from the k likeliest tokens."""
    top_p: float | None = None
    """Draw from the fewest tokens whose probabilities sum to p."""
    seed: int | None = None
    """Makes drawing repeatable."""
    ensemble: Annotated[list[Path] | None, Parameter(negative=())] = None
    """Another model with the same vocabularies to average with; may be given several times."""
    alignment: Path | None = None
    """Draw what was looked at for each token of the first translation into this PNG."""

    @property
    def given(self) -> list[str]:
        """Names of the options that are given."""
        return given_options(self)

    def sampling(self, beam: int | None) -> Sampling | None:
        """Say how to draw; None where translations are searched for, as they are with a beam."""
        drawing = [name for name in self.given if name in DRAWING]
        if not drawing:
            return None
        if searching := [*(["beam"] if beam is not None else []), *(name for name in self.given if name in SEARCH)]:
            raise ConfigError(f"{searching[0]} is for a search and {drawing[0]} for drawing; expected one of them")
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature, top_k=self.top_k, top_p=self.top_p
        )

    def search(self, beam: int | None) -> Beam:
        """Say how to search, with a beam of some size or the usual one."""
        size = {} if beam is None else {"size": beam}
        return Beam(**size, **{name: getattr(self, name) for name in self.given if name in PENALTIES})


def translate_texts(
    task: Translator,
    texts: Sequence[str],
    *,
    typed: bool,
    searching: Searching,
    options: TranslationOptions,
    output: Path | None,
    common: Common,
) -> None:
    """Translate texts, and print or write a line for each.

    Args:
        task: The translator.
        texts: In order.
        typed: Whether it is one that was typed, of which more is said.
        searching: How widely to search.
        options: How else.
        output: A file for the translations, a line each.
        common: How to report.
    """
    refuse_without_folder(output=output, alignment=options.alignment)
    others = [_open_other(path, task) for path in options.ensemble or ()]
    began, first, tokens = time.perf_counter(), True, 0
    with _written(output) as file:
        for start in range(0, len(texts), AT_ONCE):
            results = task.predict(
                texts[start : start + AT_ONCE],
                candidates=searching.alternatives or 1,
                beam=options.search(searching.beam),
                prefix=options.prefix or "",
                terms=options.include or (),
                sampling=options.sampling(searching.beam),
                seed=(1 if options.seed is None else options.seed) + start,
                align=options.alignment is not None,
                others=others,
            )
            tokens += sum(one.tokens for one in results)
            for one in results:
                _show(one, typed=typed, many=searching.alternatives, file=file, common=common)
            if first and options.alignment is not None:
                _draw(results[0], options.alignment, common)
            first = False
    seconds = time.perf_counter() - began
    if not (typed or common.quiet):
        speed = f"{len(texts) / seconds:,.1f} sentences and {tokens / seconds:,.0f} tokens a second"
        print(f"{len(texts):,} sentences in {seconds:.1f} s: {speed}", file=sys.stderr)


def _open_other(path: Path, task: Translator) -> Translator:
    other: Task = load(path, device=str(task.network.device))
    if not isinstance(other, Translator):
        raise ConfigError(f"{path} is a {other.name} model; expected a translation model to average with")
    return other


@contextmanager
def _written(output: Path | None) -> Iterator[TextIO | None]:
    """Open a file to write to, beside what stands there until all is written."""
    if output is None:
        yield None
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with writing(output.parent), aside.open("w", encoding="utf-8") as file:
            yield file
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def _show(one: Translation, *, typed: bool, many: int | None, file: TextIO | None, common: Common) -> None:
    if file is not None:
        file.write(one.text + "\n")
    if common.json:
        print_json(one)
    elif typed:
        print(one.text)
        if many is not None:
            rows = [
                (escape(each.text), f"{each.score:.3f}", f"{each.log_probability:.2f}") for each in one.alternatives
            ]
            print_rows("alternatives", ("translation", "score", "log-probability"), rows)
        if one.unknown:
            print(f"{one.unknown} of its tokens are not in the vocabulary")
    elif file is None:
        print(*(each.text for each in one.alternatives) if one.alternatives else [one.text], sep="\n")


def _draw(one: Translation, path: Path, common: Common) -> None:
    looked = one.alignment
    if looked is None:
        raise ConfigError("the text is so long that it is translated in pieces; --alignment draws one piece")
    with writing(path.parent):
        alignment(np.array(looked.weights), looked.source, looked.target, path)
    if not common.json:
        print(f"drawn: {path}")
