"""What a person sees: tables on standard output; and the one JSON object for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnkit.errors import ConfigError
from rnnkit.metrics import format_metric, metric_words


def refuse_without_folder(**files: Path | None) -> None:
    """Refuse files that cannot be written for want of a folder, before any work is done for them.

    Args:
        **files: By the name of the option that names each; None is none.

    Raises:
        ConfigError: If a folder is not there.
    """
    for option, path in files.items():
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"--{option} is {path}, but there is no folder {path.parent}; make it, or name another.")


def print_json(value: Any) -> None:
    """Print one object on one line; numbers that JSON lacks become null."""
    print(json.dumps(_plain(value), ensure_ascii=False), flush=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_metrics(
    metrics: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], *, title: str, unit: str
) -> None:
    """Print a model's metrics with the baselines beside them."""
    table = Table(header_style="bold")
    table.add_column("")
    for name in ("model", *baselines):
        table.add_column(name, justify="right")
    for key, value in metrics.items():
        others = [format_metric(key, baseline[key]) if key in baseline else "" for baseline in baselines.values()]
        table.add_row(metric_words(key, unit), format_metric(key, value), *others)
    print(title)
    _console().print(table)


def print_rows(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]], *, left: Sequence[str] = ()) -> None:
    """Print a table; the first column and those of `left` to the left, the others to the right."""
    table = Table(header_style="bold")
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index and head not in left else "left")
    for row in rows:
        table.add_row(*row)
    print(title)
    _console().print(table)


def print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values under a title."""
    console = _console()
    console.print(f"[bold]{title}[/bold]")
    table = Table.grid(padding=(0, 2))
    for _ in range(2):
        table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(f"  {name}", value)
    console.print(table)


def bar(share: float, *, width: int = 20) -> str:
    """Draw a share in [0, 1] as a bar."""
    return "█" * round(share * width)


def _console() -> Console:
    return Console(markup=True, highlight=False)
