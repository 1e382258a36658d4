"""`rnnkit evaluate` and `generate`: measure a model, write with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from rnnkit.checkpoint import Run, load_baseline, writing
from rnnkit.cli.answering import open_model, warn_unknown
from rnnkit.cli.options import ANY_MACHINE, AS_TABLES, NO_PARALLEL, Common, Machine, Parallel, option_words
from rnnkit.cli.output import print_json, print_metrics
from rnnkit.cli.transcripts import FusionOptions, make_search
from rnnkit.config import build, given, partial
from rnnkit.decoding.search import Sampling
from rnnkit.errors import ConfigError
from rnnkit.tasks import Forecasting, LanguageModel, SpeechRecognition, Task, Translator
from rnnkit.tasks.base import Comparison
from rnnkit.tasks.forecasting import narrowed
from rnnkit.tasks.language_model import Overlap, training_overlap, training_tokens

SAMPLING, FUSION = Group("Sampling", sort_key=2), Group("Of recognisers of speech", sort_key=2)
NO_FUSION = FusionOptions()


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
    backtest: int | None = None,
    test_from: str | None = None,
    beam: int | None = None,
    weights: Literal["float32", "bfloat16", "int8"] | None = None,
    fusion: Annotated[FusionOptions, Parameter(name="*", group=FUSION)] = NO_FUSION,
    parallel: Annotated[Parallel, Parameter(name="*")] = NO_PARALLEL,
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
        backtest: Of a forecaster: forecast so many times from each series, evenly over what training has not seen;
            from every step of it unless given.
        test_from: Of a forecaster: forecast from this time stamp, or number of a step, on.
        beam: Of a recogniser of speech: readings kept in the search.
        weights: Pack the recurrent layers' weights as serve does, to see what that costs; as they are unless given.
        fusion: Of a recogniser: what else has a say.
        parallel: Of a translator: parallel files in place of data.
        common: How to report.
        machine: Where to compute.
    """
    task = _packed(open_model(model, machine), weights, learns=dynamic)
    data = _with_parallel(task, model, data, parallel)
    examples, name = _examples(task, model, data)
    if backtest is not None or test_from is not None:
        examples = _narrowed(task, model, examples, backtest=backtest, test_from=test_from)
        name = f"{name if data else 'its history'}{'' if test_from is None else f' from {test_from} on'}"
    began = time.perf_counter()
    compared = _compared(task, model, examples, beam=beam, fusion=fusion)
    metrics, baselines, adaptation = compared.metrics, compared.baselines, {}
    if cache or dynamic or ngram:
        baselines = {"static": metrics, **baselines}
        metrics, adaptation = _score_adapting(task, examples, Run(model), cache=cache, dynamic=dynamic, ngram=ngram)
    seconds = time.perf_counter() - began
    pictures = _draw(task, examples, Run(model), data, title=f"{model} on {name}")
    if common.json:
        print_json(
            {
                "task": task.name,
                "model": str(model),
                "data": name,
                **({"weights": weights} if weights else {}),
                "metrics": metrics,
                "baselines": baselines,
                **({"against": compared.against, "remarks": compared.remarks} if compared.remarks else {}),
                "seconds": seconds,
                **({"adaptation": adaptation} if adaptation else {}),
                **({"pictures": [str(path) for path in pictures]} if pictures else {}),
            }
        )
    else:
        print_metrics(metrics, baselines, title=f"{model} on {name} ({seconds:.1f} s)", unit=task.unit)
        for line in _lines(compared, pictures, adaptation):
            print(line)


def _packed(task: Task, weights: str | None, *, learns: bool) -> Task:
    """Pack a model's weights, and say which stay as they are."""
    if weights is None:
        return task
    if learns:
        raise ConfigError("--dynamic learns, and packed weights cannot; leave out one of them")
    for name, reason in task.pack(weights).items():
        print(f"{name} keeps its own weights: {reason}", file=sys.stderr)
    return task


def _lines(compared: Comparison, pictures: Sequence[Path], adaptation: Mapping[str, float]) -> list[str]:
    """Say what stands below the table."""
    drawn = [f"drawn: {', '.join(map(str, pictures))}"] if pictures else []
    words = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in adaptation.items())
    tuned = [f"tuned on the run's validation data: {words}"] if adaptation else []
    return [*compared.remarks, *drawn, *tuned]


def _compared(task: Task, model: Path, examples: Any, *, beam: int | None, fusion: FusionOptions) -> Comparison:
    """Measure a model and the trivial methods."""
    baseline = load_baseline(task, model)
    if isinstance(task, SpeechRecognition):
        search = make_search(beam, fusion, device=str(task.network.device))
        return task.compare(baseline, examples, search=search)
    if given := [*(["beam"] if beam is not None else []), *fusion.given]:
        raise ConfigError(f"{option_words(given[0])} is for a recogniser of speech; {model} is a {task.name} model")
    return task.compare(baseline, examples)


def _with_parallel(task: Task, model: Path, data: list[Path] | None, parallel: Parallel) -> list[Path] | None:
    """Put parallel files in the place of data, for a translator."""
    if parallel != NO_PARALLEL and not isinstance(task, Translator):
        raise ConfigError(f"--source and --target are for a translation model; {model} is a {task.name} model")
    return parallel.instead_of(data)


def _examples(task: Task, model: Path, data: list[Path] | None) -> tuple[Any, str]:
    """Read files, or what the run was validated on, and say which."""
    if data:
        words = ", ".join(str(path) for path in data)
        return task.encode(task.read([str(path) for path in data], task.config)), words
    folder = model / "tokens" / "valid"
    if not folder.is_dir():
        raise ConfigError(f"{model} keeps no validation data; expected a data file: rnnkit evaluate {model} FILE")
    return task.load_data(folder), "its validation data"


def _narrowed(task: Task, model: Path, examples: Any, *, backtest: int | None, test_from: str | None) -> Any:
    """Choose where forecasts begin."""
    if not isinstance(task, Forecasting):
        raise ConfigError(f"--backtest and --test-from are for a forecasting model; {model} is a {task.name} model")
    if backtest is not None and backtest < 1:
        raise ConfigError(f"--backtest is {backtest}; expected 1 or more")
    return narrowed(task, examples, backtest=backtest, test_from=test_from)


def _draw(task: Task, examples: Any, run: Run, data: list[Path] | None, *, title: str) -> list[Path]:
    """Draw into the folder of the run, under the name of the data; nothing where the model left its run."""
    if not run.baseline_scores.is_file():
        return []
    stem = data[0].name.split(".")[0] if data else "validation"
    folder = run.folder / "evaluations" / (stem or "data")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return task.draw(examples, folder, title=title)


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
    warn_unknown(task, prompt)
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
