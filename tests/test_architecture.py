"""The layout of docs/design.md holds: who may import whom, what a file may be called, how long it may grow."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rnnkit"

# A file imports lower ranks, or files of its own package; two names of one rank never meet.
RANKS = {
    0: {"errors", "lazy"},
    1: {"config", "sequences", "kernels"},
    2: {"layers", "data", "metrics", "baselines", "decoding", "figures", "streaming"},
    3: {"session", "acceleration"},
    4: {"tasks"},
    5: {"checkpoint", "runner"},
    6: {"training", "export", "inspection", "benchmarking", "diagnosing"},
    7: {"serving", "comparing"},
    8: {"cli"},
    9: {"__main__"},
}
RANK_OF = {name: rank for rank, names in RANKS.items() for name in names}

# Imports inside functions: everything in these files, and these packages anywhere.
LATE_IMPORTERS = {"__init__.py"}  # the package resolves its names lazily
LATE_PACKAGES = {
    "tokenizers": "only subword vocabularies need it",
    "matplotlib": "takes most of a second to import",
    "lightning_fabric": "takes seconds to import, and only training needs it",
    "rich": "only a person watching needs it",
    "polars": "only tables of series need it",
    "narwhals": "only frames of series need it",
    "scipy": "takes half a second to import, and only forecasts, speech and comparisons need it",
    "sklearn": "takes a second to import, and only a baseline needs it",
    "soundfile": "only recordings need it, and the package may be missing",
    "sounddevice": "only a microphone needs it, and what it needs may be missing",
    "soxr": "only recordings need it, and the package may be missing",
    "kaldi_native_fbank": "only recordings need it, and the package may be missing",
    "jiwer": "only transcripts are measured by it, and the package may be missing",
    "sacrebleu": "only translations are measured by it, and the package may be missing",
    "torch.utils.tensorboard": "only --tensorboard needs it, and the package may be missing",
}

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "v2", "new", "fast"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(home|root|tmp|work|mnt|Users)/\w")
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 50

Files = dict[str, str]  # path inside the package to source


def problems(files: Files) -> list[str]:
    """List every way in which these files break the layout."""
    trees = {path: ast.parse(source) for path, source in files.items()}
    found = [problem for path in files for problem in name_problems(path)]
    for path, tree in trees.items():
        found += length_problems(path, files[path], tree)
        found += late_import_problems(path, tree)
        found += text_problems(path, files[path])
    return found + rank_problems(trees) + cycle_problems(trees)


def name_problems(path: str) -> Iterator[str]:
    """Find words that name nothing."""
    words = set(re.split(r"[/._]", path.removesuffix(".py")))
    for word in sorted(words & BANNED_NAMES):
        yield f"{path}: {word!r} names nothing; a file is called after a noun of the field"


def length_problems(path: str, source: str, tree: ast.Module) -> Iterator[str]:
    """Find files and functions that have grown too long."""
    lines = source.count("\n")
    if lines > MOST_FILE_LINES:
        yield f"{path}: {lines} lines, at most {MOST_FILE_LINES}; split it by noun"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and own_lines(node) > MOST_FUNCTION_LINES:
            yield f"{path}:{node.lineno}: {node.name} has {own_lines(node)} lines, at most {MOST_FUNCTION_LINES}"


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def late_import_problems(path: str, tree: ast.Module) -> Iterator[str]:
    """Find imports inside functions that the tables do not allow."""
    if path in LATE_IMPORTERS:
        return
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node, module in imports(function, path):
                if not any(f"{module}.".startswith(f"{package}.") for package in LATE_PACKAGES):
                    yield f"{path}:{node.lineno}: {module} is imported inside {function.name}; import it at the top"


def text_problems(path: str, source: str) -> Iterator[str]:
    """Find work left undone and paths of one machine."""
    for number, line in enumerate(source.splitlines(), start=1):
        for pattern in (UNFINISHED, MACHINE_PATH):
            if match := pattern.search(line):
                yield f"{path}:{number}: {match[0]!r} does not belong in finished source"


def imports(tree: ast.AST, path: str) -> Iterator[tuple[ast.stmt, str]]:
    """List what is imported, each as a full dotted name."""
    package = ["rnnkit", *path.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                yield node, f"{module}.{alias.name}"


def rank_problems(trees: dict[str, ast.Module]) -> list[str]:
    """Find imports of the same rank or a higher one, outside the file's own package."""
    found = []
    for path, tree in trees.items():
        unit = unit_of(path)
        if unit == "__init__":
            continue
        if unit not in RANK_OF:
            found.append(f"{path}: {unit!r} has no rank; give it one here and in docs/design.md")
            continue
        for node, module in imports(tree, path):
            parts = module.split(".")
            if parts[0] != "rnnkit" or module == "rnnkit.__version__":
                continue
            imported = parts[1] if len(parts) > 1 else "the whole package"
            if imported != unit and RANK_OF.get(imported, len(RANKS)) >= RANK_OF[unit]:
                found.append(f"{path}:{node.lineno}: {unit} (rank {RANK_OF[unit]}) may not import {imported}")
    return found


def unit_of(path: str) -> str:
    """Name the file or package directly under rnnkit that a path belongs to."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def cycle_problems(trees: dict[str, ast.Module]) -> list[str]:
    """Find files that import one another in a circle."""
    files = set(trees)
    edges = {path: imported_files(path, run_time(tree), files) for path, tree in trees.items() if path != "__init__.py"}
    done: set[str] = set()
    found: list[str] = []

    def visit(path: str, trail: list[str]) -> None:
        if path in trail:
            found.append("circle of imports: " + " > ".join([*trail[trail.index(path) :], path]))
        elif path not in done:
            for following in sorted(edges.get(path, ())):
                visit(following, [*trail, path])
            done.add(path)

    for path in edges:
        visit(path, [])
    return found


class WithoutTypeImports(ast.NodeTransformer):
    """Drops the blocks that only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING") else self.generic_visit(node)


def run_time(tree: ast.Module) -> ast.Module:
    """Leave what runs: an import for types alone makes no circle, though it still keeps the ranks."""
    return ast.Module(body=[kept for node in tree.body if (kept := WithoutTypeImports().visit(node))], type_ignores=[])


def imported_files(path: str, tree: ast.Module, files: set[str]) -> set[str]:
    """List the files of rnnkit that a file names in its imports."""
    found = set()
    for _, module in imports(tree, path):
        parts = module.split(".")[1:] if module.startswith("rnnkit.") else []
        # `from a.b import c` names c.py where there is one, otherwise the file that defines c
        prefixes = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
        candidates = itertools.chain.from_iterable((f"{prefix}.py", f"{prefix}/__init__.py") for prefix in prefixes)
        found |= {next((candidate for candidate in candidates if candidate in files), path)} - {path}
    return found


def test_the_source_keeps_the_layout():
    files = {path.relative_to(SOURCE).as_posix(): path.read_text("utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    found = problems(files)
    assert not found, "\n" + "\n".join(found)


def test_the_pages_name_no_path_of_one_machine():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile", ROOT / "NOTICE"]
    lines = ((page, line) for page in pages for line in page.read_text("utf-8").splitlines())
    found = [f"{page.name}: {line.strip()}" for page, line in lines if MACHINE_PATH.search(line)]
    assert not found, "\n" + "\n".join(found)


# The checker itself


GOOD = {
    "__init__.py": "from rnnkit.cli import main",
    "errors.py": "",
    "kernels/__init__.py": "from rnnkit.kernels.scan import Scan\nfrom rnnkit.errors import ConfigError",
    "kernels/scan.py": "import torch",
    "layers/__init__.py": "from rnnkit.layers.base import Layer",
    "layers/base.py": "from rnnkit.kernels import Scan\nfrom . import options",
    "layers/options.py": "from ..errors import ConfigError",
    "figures.py": "def draw():\n    from matplotlib.figure import Figure",
    "cli/__init__.py": "from rnnkit import __version__",
    "cli/training.py": "from rnnkit.layers import Layer",
}


def test_a_good_layout_passes():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("layers/base.py", "from rnnkit.tasks import TASKS", "layers/base.py:1: layers (rank 2) may not import tasks"),
        ("layers/base.py", "import rnnkit.data.readers", "layers (rank 2) may not import data"),
        ("layers/base.py", "from ..metrics import accuracy", "layers (rank 2) may not import metrics"),
        ("layers/base.py", "from .. import metrics", "layers (rank 2) may not import metrics"),
        ("layers/base.py", "if x:\n    from rnnkit.cli import main", "layers/base.py:2: layers (rank 2)"),
        ("layers/base.py", "import rnnkit", "layers (rank 2) may not import the whole package"),
        ("layers/base.py", "from rnnkit import LSTM", "layers (rank 2) may not import LSTM"),
        ("layers/options.py", "from rnnkit.layers.base import Layer", "circle of imports: layers/base.py > layers/op"),
        ("layers/base.py", "from rnnkit.layers import Layer", "layers/__init__.py > layers/base.py > layers/__init"),
        ("plumbing.py", "", "'plumbing' has no rank"),
        ("layers/utils.py", "", "'utils' names nothing"),
        ("data/text_helpers.py", "", "'helpers' names nothing"),
        ("errors.py", "\n" * 401, "errors.py: 401 lines, at most 400"),
        ("errors.py", "def long():\n" + "    pass\n" * 50, "errors.py:1: long has 51 lines, at most 50"),
        ("errors.py", "def f():\n    import torch", "errors.py:2: torch is imported inside f"),
        ("errors.py", "class A:\n    def f(self):\n        from os import path", "os.path is imported inside f"),
        ("errors.py", "# TODO: later", "errors.py:1: 'TODO' does not belong"),
        ("errors.py", "PATH = '/home/me/data'", "errors.py:1: '/home/m' does not belong"),
    ],
)
def test_a_breach_is_found(path: str, source: str, expected: str):
    found = problems({**GOOD, path: source})
    assert any(expected in problem for problem in found), found


def test_an_import_for_types_alone_makes_no_circle():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnnkit.layers.base import Layer"
    assert problems({**GOOD, "layers/options.py": source}) == []


def test_an_import_for_types_alone_keeps_the_ranks():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rnnkit.cli import main"
    assert any("may not import cli" in problem for problem in problems({**GOOD, "layers/options.py": source}))


def test_a_docstring_does_not_count_as_length():
    source = 'def f():\n    """Say\n' + "    much.\n" * 60 + '    """\n' + "    pass\n" * 49
    assert problems({"errors.py": source}) == []


def test_a_web_address_is_no_path_of_a_machine():
    assert problems({"errors.py": "# https://example.org/home/me and a/tmp/b"}) == []
