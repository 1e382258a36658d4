"""`rnnkit inspect`: what is in a user's files."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App
from rich.markup import escape

from rnnkit.cli.options import AS_TABLES, Common
from rnnkit.cli.output import print_json, print_pairs
from rnnkit.data.readers import read_text
from rnnkit.inspection import inspect_text

app = App(name="inspect", help="Say what is in your files before training.", help_format="plaintext")


@app.command(name=("language-model", "lm"))
def language_model(data: list[Path], /, *, document_separator: str | None = None, common: Common = AS_TABLES) -> None:
    """Say what is in a text: encoding, size, symbols, repeated lines, and a vocabulary that suits it.

    Args:
        data: Text files or folders.
        document_separator: Text that stands between documents in a file.
        common: How to report.
    """
    found = inspect_text(read_text(data, document_separator=document_separator))
    if common.json:
        print_json({"task": "language-model", "data": [str(path) for path in data], **found.to_dict()})
        return
    for title, rows in found.sections():
        if rows:
            print_pairs(escape(title), [(escape(name), escape(value)) for name, value in rows])
