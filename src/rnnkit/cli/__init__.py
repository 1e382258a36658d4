"""The command line: verbs are imported when they are called, so that `rnnkit --help` answers at once."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.console import Console

from rnnkit import __version__
from rnnkit.errors import ConfigError, RnnkitError

VERBS = {
    "demo": ("rnnkit.cli.training:demo", "Train on a bundled sample, evaluate, and use the model."),
    "inspect": ("rnnkit.cli.inspection:app", "Say what is in your files before training."),
    "train": ("rnnkit.cli.training:app", "Train a model on your files, or --resume a run."),
    "compare": ("rnnkit.cli.comparing:app", "Compare layers on your files: same data, same budget, several seeds."),
    "diagnose": ("rnnkit.cli.diagnosing:diagnose", "See how far gradients and memory reach, and what gates do."),
    "evaluate": ("rnnkit.cli.using:evaluate", "Measure a model, the trivial baseline beside it."),
    "predict": ("rnnkit.cli.answering:predict", "Answer a text or a file."),
    "generate": ("rnnkit.cli.using:generate", "Write on from a prompt."),
    "stream": ("rnnkit.cli.streaming:stream", "Follow standard input live, one event a token."),
    "serve": ("rnnkit.cli.serving:serve", "Answer over HTTP and WebSocket, with a page to try models."),
    "export": ("rnnkit.cli.exporting:export", "Write a model as ONNX or plain C."),
    "benchmark": ("rnnkit.cli.benchmarking:app", "Measure the speed on this machine, rivals beside it."),
    "config": ("rnnkit.cli.training:config", "Print every option of a task with its default and meaning, as TOML."),
}

# Packages that whole verbs need, by the extra that brings them.
EXTRA_OF: dict[str, str] = dict.fromkeys(
    ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "prometheus_client"), "serve"
)
EXTRA_OF |= dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export")


def make_app() -> App:
    """Return the application with its verbs, none of them imported yet."""
    app = App(
        name="rnnkit",
        help="Recurrent networks, from your own file to a live stream.",
        version=__version__,
        help_format="plaintext",
    )
    for name, (place, meaning) in VERBS.items():
        app.command(place, name=name, help=meaning)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows `rnnkit`; None takes it from the command line.

    Returns:
        The exit code: 0 done, 1 our fault, 2 the input was refused, 3 the run failed, 130 and 143 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debugging = "--debug" in words
    _report_to_stderr(logging.WARNING if "--quiet" in words else logging.DEBUG if debugging else logging.INFO)
    try:
        code = make_app()(words, exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except (RnnkitError, CycloptsError) as error:
        return _refuse(error, debugging)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - a fault of ours: say so, and how to report it
        cause = error.__cause__  # cyclopts wraps what fails while a verb is imported
        if isinstance(cause, ModuleNotFoundError) and (extra := EXTRA_OF.get(cause.name or "")):
            missing = f"{words[0]} needs {cause.name}, which is not installed"
            return _refuse(ConfigError(f"{missing}; pip install 'rnnkit[{extra}]'"), debugging)
        traceback.print_exc()
        print("rnnkit: this is a fault of rnnkit; please report it with the lines above", file=sys.stderr)
        return 1


def _refuse(error: RnnkitError | CycloptsError, debugging: bool) -> int:
    if debugging:
        traceback.print_exc()
    words = " ".join(str(error).split()) if isinstance(error, CycloptsError) else str(error)
    Console(stderr=True, soft_wrap=True).print(f"rnnkit: {words}", style="red", markup=False, highlight=False)
    return error.exit_code if isinstance(error, RnnkitError) else 2


def _report_to_stderr(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("rnnkit")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
