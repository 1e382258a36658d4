"""Options come in checked, and go out as a file that reads back."""

import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given as over
from hypothesis import strategies

from rnnkit.config import build, field_docs, given, merge, partial, read_toml, to_toml
from rnnkit.errors import ConfigError


@dataclass(frozen=True)
class Model:
    """A made-up model's options."""

    layer: Literal["lstm", "gru"] = "lstm"
    """Which recurrence."""
    hidden_size: int = 512
    """Units of each layer; a meaning that runs on
    over two lines."""
    dropout: float = 0.1
    """Share in [0, 1) of the units dropped."""
    tied: bool = True
    """Whether input and output share a matrix."""
    sizes: tuple[int, ...] = (1, 2)
    """Sizes of something."""
    top_k: int | None = None
    """Keep the k likeliest; unset keeps all."""
    clip: float | None = 1.0
    """Largest norm; none never clips."""
    prompt: str | None = None
    """Text to start from; unset starts from nothing."""


@dataclass(frozen=True)
class WiderModel(Model):
    """Inherits, changes one default and adds one."""

    hidden_size: int = 1024
    width: int = 3
    """How wide."""


@dataclass(frozen=True)
class Training:
    """A made-up trainer's options."""

    steps: int
    """Optimizer steps."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    dropout: float = 0.0
    """The same name as in another section."""


@dataclass(frozen=True)
class Checked:
    """Checks its own range."""

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ConfigError(f"share got {self.share}, expected a number in [0, 1).")


SECTIONS = {"model": Model, "training": Training}


def refusal(values: dict[str, Any], config: type = Model) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, values, where="lm.toml: model")
    return str(caught.value)


# Meanings


def test_a_field_means_what_the_string_below_it_says():
    docs = field_docs(Model)
    assert list(docs) == ["layer", "hidden_size", "dropout", "tied", "sizes", "top_k", "clip", "prompt"]
    assert docs["hidden_size"] == "Units of each layer; a meaning that runs on over two lines."


def test_an_inherited_field_keeps_its_meaning():
    docs = field_docs(WiderModel)
    assert docs["hidden_size"] == field_docs(Model)["hidden_size"]
    assert docs["width"] == "How wide."


def test_a_field_without_a_meaning_has_an_empty_one():
    assert field_docs(Checked) == {"share": ""}


# Values


def test_values_of_every_type_are_taken():
    values = {"layer": "gru", "hidden_size": 8, "dropout": 0, "tied": False, "sizes": [3], "top_k": 5, "prompt": "A"}
    built = build(Model, values, where="here")
    assert built == Model("gru", 8, 0.0, False, (3,), 5, 1.0, "A")
    assert type(built.dropout) is float


def test_an_empty_table_gives_the_defaults():
    assert build(Model, {}, where="here") == Model()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"hidden_size": "3"}, 'model.hidden_size got "3", expected an integer'),
        ({"hidden_size": True}, "model.hidden_size got true, expected an integer"),
        ({"hidden_size": 3.0}, "model.hidden_size got 3.0, expected an integer"),
        ({"hidden_size": None}, "model.hidden_size got None, expected an integer"),
        ({"dropout": False}, "model.dropout got false, expected a number"),
        ({"dropout": math.nan}, "model.dropout got nan, expected a number"),
        ({"tied": 1}, "model.tied got 1, expected true or false"),
        ({"sizes": 3}, "model.sizes got 3, expected a list, each an integer"),
        ({"sizes": [3, "x"]}, 'model.sizes got [3, "x"], expected a list, each an integer'),
        ({"layer": "lsmt"}, 'model.layer got "lsmt", expected one of "lstm", "gru"; did you mean lstm?'),
        ({"top_k": 1.5}, 'model.top_k got 1.5, expected an integer or "none"'),
        ({"prompt": 3}, "model.prompt got 3, expected a string or nothing"),
        ({"hidden_size": {"a": 1}}, "model.hidden_size got {'a': 1}, expected an integer"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(values: dict[str, Any], expected: str):
    assert expected in refusal(values)
    assert "lm.toml" in refusal(values)


def test_an_unknown_option_is_refused_with_the_nearest_and_all_valid_ones():
    message = refusal({"hiden-size": 3})
    assert "lm.toml: model.hiden-size is not an option; did you mean hidden_size?" in message
    assert "Options: layer, hidden_size, dropout, tied, sizes, top_k, clip, prompt." in message


def test_an_unknown_option_like_no_other_gets_no_suggestion():
    assert "did you mean" not in refusal({"zzz": 3})


def test_a_missing_required_option_is_named():
    assert "model.steps is missing: expected an integer" in refusal({}, Training)


def test_a_long_value_is_cut_short_in_the_message():
    assert len(refusal({"hidden_size": "x" * 10_000})) < 200


def test_the_check_of_a_config_itself_says_where():
    assert "lm.toml: model: share got 2.0, expected a number in [0, 1)" in refusal({"share": 2}, Checked)


def test_the_word_none_unsets_an_option_with_a_default():
    assert build(Model, {"clip": "none"}, where="here").clip is None


def test_the_word_none_is_text_where_text_is_taken():
    assert build(Model, {"prompt": "none"}, where="here").prompt == "none"


# Sections


def test_each_section_fills_its_config():
    tables = {"model": {"hidden_size": 3}, "training": {"steps": 5, "learning_rate": 1}}
    assert merge(SECTIONS, tables, where="x") == {"model": Model(hidden_size=3), "training": Training(5, 1.0)}


def test_an_option_of_one_section_may_stand_at_the_top():
    merged = merge(SECTIONS, {"hidden_size": 3, "steps": 4, "training": {"dropout": 0.5}}, where="x")
    assert merged == {"model": Model(hidden_size=3), "training": Training(4, dropout=0.5)}


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"dropout": 0.1}, "dropout is an option of several sections: put it under [model] or [training]"),
        ({"steps": 1, "training": {"steps": 2}}, "steps stands at the top and again in [training]"),
        ({"trainning": {"steps": 2}}, "[trainning] is not a section; did you mean training?"),
        ({"stepz": 2}, "stepz is not an option; did you mean steps?"),
        ({"model": 3}, "model is a section, not an option: write [model]"),
        ({"training": {"steps": "2"}}, 'training.steps got "2", expected an integer'),
    ],
)
def test_tables_that_fit_no_section_are_refused(tables: dict[str, Any], expected: str):
    with pytest.raises(ConfigError) as caught:
        merge(SECTIONS, tables, where="lm.toml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("lm.toml: ")


# Files


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "a.toml"
    path.write_bytes("\ufeff[model]\r\nhidden_size = 3\r\n".encode())
    assert read_toml(path) == {"model": {"hidden_size": 3}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[model]\nhidden_size = \n", "a.toml:2: Invalid value: hidden_size ="),
        (b"[model]\nhidden_size", "a.toml:2: Expected '='"),
        (b"a = 1\na = 2\n", "a.toml:2: Cannot overwrite a value"),
        (b"a = 1\nb = '\xff'\n", "a.toml:2: byte 0xff is not UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, expected: str):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert expected in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read: No such file"):
        read_toml(tmp_path / "nothing.toml")


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


def test_a_written_file_explains_itself():
    written = to_toml({"model": Model()}, comments=True)
    assert written.startswith(
        "[model]\n\n"
        '# Which recurrence. One of "lstm", "gru".\n'
        'layer = "lstm"\n\n'
        "# Units of each layer; a meaning that runs on over two lines.\n"
        "hidden_size = 512\n"
    )
    assert "# Keep the k likeliest; unset keeps all.\n# top_k =\n" in written
    assert all(len(line) <= 100 for line in written.splitlines())


def test_a_file_without_comments_holds_only_values():
    assert to_toml({"training": Training(3)}, comments=False) == (
        "[training]\nsteps = 3\nlearning_rate = 0.002\ndropout = 0.0\n"
    )


def test_an_unset_option_with_a_default_is_written_as_none():
    assert 'clip = "none"' in to_toml({"model": Model(clip=None)}, comments=True)


def test_what_toml_cannot_say_is_refused():
    @dataclass(frozen=True)
    class Ambiguous:
        name: str | None = "x"

    with pytest.raises(ConfigError, match=r"s\.name is None"):
        to_toml({"s": Ambiguous(None)}, comments=False)


models = strategies.builds(
    Model,
    layer=strategies.sampled_from(["lstm", "gru"]),
    hidden_size=strategies.integers(),
    dropout=strategies.floats(allow_nan=False),
    tied=strategies.booleans(),
    sizes=strategies.lists(strategies.integers()).map(tuple),
    top_k=strategies.none() | strategies.integers(),
    clip=strategies.none() | strategies.floats(allow_nan=False),
    prompt=strategies.none() | strategies.text(),
)
trainings = strategies.builds(
    Training,
    steps=strategies.integers(),
    learning_rate=strategies.floats(allow_nan=False),
    dropout=strategies.just(0.0),
)


@over(models, trainings, strategies.booleans())
def test_a_written_file_reads_back_equal(model: Model, training: Training, comments: bool):
    written = to_toml({"model": model, "training": training}, comments=comments)
    assert merge(SECTIONS, tomllib.loads(written), where="x") == {"model": model, "training": training}


# Overrides


def test_only_given_options_override():
    base = Model(layer="gru", hidden_size=3)
    options = partial(Model)(hidden_size=7, tied=False)
    assert given(options) == {"hidden_size": 7, "tied": False}
    assert build(Model, {**asdict(base), **given(options)}, where="options") == Model("gru", 7, tied=False)


def test_the_word_none_overrides_a_default():
    options = partial(Model)(clip="none")
    assert build(Model, {**asdict(Model()), **given(options)}, where="options").clip is None


def test_a_partial_config_starts_with_nothing_given():
    assert given(partial(Training)()) == {}


def test_a_partial_config_tells_meanings_and_defaults():
    doc = partial(Model).__doc__ or ""
    assert "    dropout: Share in [0, 1) of the units dropped. Default: 0.1.\n" in doc
    assert "    top_k: Keep the k likeliest; unset keeps all.\n" in doc


def test_a_partial_config_is_made_once():
    assert partial(Model) is partial(Model)
