"""`rnnkit evaluate`, `predict`, `generate`, `stream`: what a trained model is for."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Group, Parameter
from rich.markup import escape

from rnnkit.checkpoint import Run, load, load_baseline
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, Common, Machine, arriving_text, given_text
from rnnkit.cli.output import bar, print_json, print_metrics, print_rows
from rnnkit.config import build, given, partial
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError
from rnnkit.tasks import LanguageModel, Task
from rnnkit.tasks.language_model import Overlap, TokenEvent, training_overlap, training_tokens
from rnnkit.training.machine import choose_device

MOST_ROWS = 100  # of a table of tokens; --json prints all
SAMPLING = Group("Sampling", sort_key=2)


def open_model(model: Path, machine: Machine) -> Task:
    """Load a model onto the machine that was asked for."""
    if machine.threads is not None:
        if machine.threads < 1:
            raise ConfigError(f"threads is {machine.threads}; expected at least 1")
        torch.set_num_threads(machine.threads)
    return load(model, device=choose_device(machine.device))


def open_language_model(model: Path, machine: Machine, *, verb: str) -> LanguageModel:
    """Load a model that must be a language model."""
    task = open_model(model, machine)
    if not isinstance(task, LanguageModel):
        raise ConfigError(f"{model} is a {task.name} model; {verb} needs a language-model")
    return task


def evaluate(
    model: Path,
    data: list[Path] | None = None,
    /,
    *,
    cache: Annotated[bool, Parameter(negative=())] = False,
    dynamic: Annotated[bool, Parameter(negative=())] = False,
    ngram: Annotated[bool, Parameter(negative=())] = False,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Measure a model, the trivial baseline beside it.

    Args:
        model: A run or model folder.
        data: Files or folders; without any, the run's own validation data.
        cache: Of a language model: mix in what followed like moments of the last 2,000 tokens.
        dynamic: Of a language model: let the weights go on learning from the text as it is read.
        ngram: Of a language model: mix in the n-gram of its run.
        common: How to report.
        machine: Where to compute.
    """
    task = open_model(model, machine)
    if data:
        examples = task.encode(task.read([str(path) for path in data], task.config))
        name = ", ".join(str(path) for path in data)
    else:
        folder = model / "tokens" / "valid"
        if not folder.is_dir():
            raise ConfigError(f"{model} keeps no validation data; expected a data file: rnnkit evaluate {model} FILE")
        examples, name = task.load_data(folder), "its validation data"
    began = time.perf_counter()
    metrics = task.score(examples)
    baseline = load_baseline(task, model)
    baselines = {task.baseline_name: task.score_baseline(baseline, examples)} if baseline is not None else {}
    adaptation = {}
    if cache or dynamic or ngram:
        baselines = {"static": metrics, **baselines}
        metrics, adaptation = _score_adapting(task, examples, Run(model), cache=cache, dynamic=dynamic, ngram=ngram)
    seconds = time.perf_counter() - began
    if common.json:
        print_json(
            {
                "task": task.name,
                "model": str(model),
                "data": name,
                "metrics": metrics,
                "baselines": baselines,
                "seconds": seconds,
                **({"adaptation": adaptation} if adaptation else {}),
            }
        )
    else:
        print_metrics(metrics, baselines, title=f"{model} on {name} ({seconds:.1f} s)")
        if adaptation:
            words = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in adaptation.items())
            print(f"tuned on the run's validation data: {words}")


def _score_adapting(
    task: Task, examples: Any, run: Run, *, cache: bool, dynamic: bool, ngram: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics and the constants that the run's validation data chose."""
    if not isinstance(task, LanguageModel):
        raise ConfigError(
            f"--cache, --dynamic and --ngram are for a language-model; {run.folder} is a {task.name} model"
        )
    if not (run.tokens / "valid").is_dir():
        raise ConfigError(
            f"{run.folder} is no run with its data, on which --cache, --dynamic and --ngram are tuned; "
            "expected the run's folder"
        )
    metrics, scored = task.score_adapting(
        examples,
        valid=task.load_data(run.tokens / "valid"),
        train=task.load_data(run.tokens / "train") if dynamic else None,
        cache=cache,
        ngram=load_baseline(task, run.folder) if ngram else None,
    )
    constants = {"cache_sharpness": scored.adaptation.sharpness, "dynamic_rate": scored.adaptation.rate}
    chosen = {name: value for name, value in constants.items() if value is not None}
    return metrics, chosen | {f"weight_of_{name}": weight for name, weight in scored.weights.items()}


def predict(
    model: Path,
    words: str | None = None,
    /,
    *,
    text: str | None = None,
    file: Path | None = None,
    stdin: Annotated[bool, Parameter(name=("--stdin", "-"), negative=())] = False,
    candidates: int = 10,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Score a text token by token, and name what is likely to follow.

    Args:
        model: A run or model folder.
        words: A text, or a file if one has this name.
        text: A text, even if a file has this name.
        file: A file.
        stdin: Read standard input.
        candidates: How many next tokens to name.
        common: How to report.
        machine: Where to compute.
    """
    if candidates < 1:
        raise ConfigError(f"candidates is {candidates}; expected at least 1")
    task = open_language_model(model, machine, verb="predict")
    given_words = given_text(words, text=text, file=file, stdin=stdin)
    _warn_unknown(task, given_words)
    (result,) = task.predict([given_words], candidates=candidates)
    if common.json:
        print_json(result)
        return
    rows = [
        (escape(token.token), f"{token.probability:.2%}", f"{token.nats / math.log(2):.2f}", bar(token.probability))
        for token in result.tokens[:MOST_ROWS]
    ]
    if rows:
        title = f"{len(result.tokens):,} tokens: {result.bits_per_character:.3f} bits a character, "
        print_rows(f"{title}perplexity {result.perplexity:.2f} a token", ("token", "probability", "bits", ""), rows)
    if len(result.tokens) > MOST_ROWS:
        print(f"... and {len(result.tokens) - MOST_ROWS:,} more; --json prints all of them")
    following = [(escape(one.token), f"{one.probability:.2%}", bar(one.probability)) for one in result.next]
    print_rows("what is likely to follow", ("token", "probability", ""), following)


def generate(
    model: Path,
    /,
    *,
    prompt: str = "",
    max_tokens: int = 200,
    samples: int = 1,
    stop: list[str] | None = None,
    seed: int | None = None,
    overlap: Annotated[bool, Parameter(negative=())] = False,
    passage_tokens: int | None = None,
    sampling: Any = None,
    common: Common = AS_TABLES,
    machine: Machine = ANY_MACHINE,
) -> None:
    """Write on from a prompt, as it is written.

    Args:
        model: A run or model folder.
        prompt: What to continue; empty begins a document.
        max_tokens: The longest continuation, in tokens.
        samples: How many continuations.
        stop: Text that ends a continuation; may be given several times.
        seed: Makes it repeatable.
        overlap: Say which passages stand word for word in the training text; needs the run folder.
        passage_tokens: The shortest passage that counts for --overlap; about 50 characters unless given.
        sampling: How tokens are drawn.
        common: How to report.
        machine: Where to compute.
    """
    options = build(Sampling, given(sampling) if sampling else {}, where="options")
    task = open_language_model(model, machine, verb="generate")
    _warn_unknown(task, prompt)
    if passage_tokens is not None and not overlap:
        raise ConfigError(f"--passage-tokens {passage_tokens} is for --overlap, which is not given")
    training = training_tokens(model) if overlap else None
    began = time.perf_counter()
    pieces = task.write(prompt, samples=samples, max_tokens=max_tokens, sampling=options, stop=stop or (), seed=seed)
    shown = pieces if common.json else _shown(pieces, prompt, samples)
    texts = _collect(shown, samples)
    seconds = time.perf_counter() - began
    copies = (
        [] if training is None else [training_overlap(task, text, training, minimum=passage_tokens) for text in texts]
    )
    if common.json:
        report = {"task": task.name, "model": str(model), "prompt": prompt, "samples": texts, "seconds": seconds}
        print_json({**report, "overlaps": copies} if overlap else report)
        return
    if samples > 1:
        for number, written in enumerate(texts, start=1):
            print(f"--- sample {number}\n{prompt}{written}")
    _show_overlaps(copies)


# The options are the fields of Sampling, each of which may be left out.
generate.__annotations__["sampling"] = Annotated[partial(Sampling) | None, Parameter(name="*", group=SAMPLING)]


def _shown(pieces: Iterator[tuple[int, str]], prompt: str, samples: int) -> Iterator[tuple[int, str]]:
    """Print the pieces of a single sample as they come."""
    if samples > 1:
        yield from pieces
        return
    sys.stdout.write(prompt)
    for row, piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        yield row, piece
    print()


def _show_overlaps(copies: list[Overlap]) -> None:
    for number, one in enumerate(copies, start=1):
        print(f"--- sample {number}: overlap with the training text" if len(copies) > 1 else "---")
        if one.tokens:
            print(f"longest copy: {one.tokens:,} tokens, {one.characters:,} characters: {one.passage!r}")
        else:
            print("longest copy: none, not one token stands in the training text")
        print(f"in copies of {one.minimum} tokens or more: {one.share:.1%} of the text")


def _collect(pieces: Iterator[tuple[int, str]], samples: int) -> list[str]:
    texts = [""] * samples
    for row, piece in pieces:
        texts[row] += piece
    return texts


def stream(model: Path, /, *, candidates: int = 3, common: Common = AS_TABLES, machine: Machine = ANY_MACHINE) -> None:
    """Follow standard input live: for each token its surprise in bits, and what is likely next.

    Args:
        model: A run or model folder.
        candidates: How many next tokens to name.
        common: How to report.
        machine: Where to compute.
    """
    task = open_language_model(model, machine, verb="stream")
    live = task.stream(candidates=candidates)
    for chunk in arriving_text():
        _show_events(live.push(chunk), common)
    _show_events(live.finish(), common)


def _show_events(events: list[TokenEvent], common: Common) -> None:
    for event in events:
        if common.json:
            print_json(event)
        else:
            following = "  ".join(f"{one.token} {one.probability:.0%}" for one in event.next)
            print(f"{event.token}\t{event.bits:6.2f} bits\tnext: {following}", flush=True)


def _warn_unknown(task: LanguageModel, text: str) -> None:
    unknown = task.unknown_in(text)
    if unknown:
        shown = ", ".join(repr(part) for part in unknown[:10])
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        print(f"not in the model's vocabulary, read as <unk>: {shown}{more}", file=sys.stderr)
