"""Turn TOML and command-line options into checked dataclasses, and write them back with their meaning.

A config is a plain frozen dataclass. Each field is an `int`, `float`, `bool`, `str`, `Literal[...]`, `tuple[int, ...]`
or one of these `| None`, and carries its meaning as a string literal on the lines below it.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import json
import math
import re
import textwrap
import tomllib
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rnnkit.errors import ConfigError

Config = TypeVar("Config")

_UNSET = "none"  # TOML has no null: this word unsets an option whose default is a value
_COMMENT_WIDTH = 100
_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}


@functools.cache
def field_docs(config_class: type) -> dict[str, str]:
    """Read what each option means from the string literals under a config's fields.

    Args:
        config_class: A dataclass; fields it inherits keep the base's meaning unless it gives another.

    Returns:
        The meaning of every field on one line, in field order; empty where the source gives none.
    """
    found: dict[str, str] = {}
    for ancestor in reversed(config_class.__mro__):
        if dataclasses.is_dataclass(ancestor):
            found.update(_attribute_docs(ancestor))
    return {field.name: found.get(field.name, "") for field in dataclasses.fields(config_class)}


def _attribute_docs(owner: type) -> dict[str, str]:
    """Map attribute to docstring for the attributes written in one class body."""
    try:
        body = _class_body(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError):  # made at run time: there is no source to read
        return {}
    docs = {}
    for statement, following in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs


def _class_body(source: str) -> list[ast.stmt]:
    """Parse the source of one class and return the statements in it."""
    definition = ast.parse(source).body[0]
    return definition.body if isinstance(definition, ast.ClassDef) else []


def build(config_class: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Make a config from values as TOML gives them, checking every key and type.

    Args:
        config_class: The dataclass to make.
        values: Option to value. An integer is accepted for a number and a list for a tuple; text is never converted.
        where: What holds the options, such as `lm.toml: training`; messages name `where.option`.

    Returns:
        The config; options not given have their defaults.

    Raises:
        ConfigError: If an option is unknown, missing, of the wrong type, or out of the config's range.
    """
    fields = {field.name: field for field in _fields(config_class)}
    for name in values:
        if name not in fields:
            options = ", ".join(fields)
            raise ConfigError(f"{where}.{name} is not an option{_nearest(name, fields)} Options: {options}.")
    hints = _hints(config_class)
    for name, field in fields.items():
        if name not in values and _is_required(field):
            raise ConfigError(f"{where}.{name} is missing: expected {_expected(hints[name])}.")
    checked = {name: _convert(hints[name], value, where=f"{where}.{name}") for name, value in values.items()}
    try:
        return config_class(**checked)
    except ConfigError as error:  # the config's own check of its values
        raise ConfigError(f"{where}: {error}") from error


def merge(configs: Mapping[str, type], tables: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Make one config per section from a TOML file's tables.

    Args:
        configs: Section name to the config it holds.
        tables: The file as read: a table per section. An option may also stand above the first section, if only one
            section has it.
        where: The file, for messages.

    Returns:
        Section name to config, for every section in `configs`.

    Raises:
        ConfigError: If a section or option is unknown, ambiguous, given twice, or of the wrong type.
    """
    sections: dict[str, dict[str, Any]] = {section: {} for section in configs}
    for name, value in tables.items():
        if isinstance(value, Mapping):
            if name not in configs:
                raise ConfigError(f"{where}: [{name}] is not a section{_nearest(name, configs)} {_sections(configs)}")
            sections[name].update(value)
    for name, value in tables.items():
        if not isinstance(value, Mapping):
            section = _section_of(name, configs, where=where)
            if name in sections[section]:
                raise ConfigError(f"{where}: {name} stands at the top and again in [{section}]: keep one.")
            sections[section][name] = value
    return {name: build(configs[name], sections[name], where=f"{where}: {name}") for name in configs}


def _section_of(name: str, configs: Mapping[str, type], *, where: str) -> str:
    """Find the one section that has the option `name`, or say why there is none."""
    owners = [section for section, config in configs.items() if name in {field.name for field in _fields(config)}]
    if len(owners) == 1:
        return owners[0]
    if owners:
        choices = " or ".join(f"[{owner}]" for owner in owners)
        raise ConfigError(f"{where}: {name} is an option of several sections: put it under {choices}.")
    if name in configs:
        raise ConfigError(f"{where}: {name} is a section, not an option: write [{name}] on a line of its own.")
    options = [field.name for config in configs.values() for field in _fields(config)]
    raise ConfigError(f"{where}: {name} is not an option{_nearest(name, options)} {_sections(configs)}")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: A UTF-8 text file.

    Returns:
        Its tables.

    Raises:
        ConfigError: If the file cannot be read, is not UTF-8, or is not TOML (naming the line).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; expected a TOML file.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8: save it as UTF-8.") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_message(path, text, str(error))) from error


def _syntax_message(path: str | Path, text: str, reason: str) -> str:
    """Put the line of a TOML syntax error where editors find it: file:line."""
    position = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", reason)
    if position is None:
        return f"{path}: {reason}."
    line = int(position[1] or len(text.splitlines()) or 1)
    shown = text.splitlines()[line - 1].strip() if text.strip() else ""
    return f"{path}:{line}: {reason[: position.start()]}: {shown}"


def to_toml(configs: Mapping[str, Any], *, comments: bool) -> str:
    """Write configs as TOML that `merge` reads back into equal ones.

    Args:
        configs: Section name to config.
        comments: Whether to put each option's meaning and choices above it, and a commented-out line for unset ones.

    Returns:
        The text of the file.

    Raises:
        ConfigError: If a value cannot be written so that it reads back.
    """
    return "\n".join(_section_text(name, config, comments=comments) for name, config in configs.items())


def _section_text(section: str, config: Any, *, comments: bool) -> str:
    """Write one section with its header."""
    lines = [f"[{section}]"]
    docs, hints = field_docs(type(config)), _hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        line = _option_line(field, hints[field.name], value, where=f"{section}.{field.name}")
        if comments:
            lines += ["", *_meaning_lines(docs[field.name], hints[field.name]), line or f"# {field.name} ="]
        elif line is not None:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _meaning_lines(meaning: str, hint: Any) -> list[str]:
    """Wrap an option's meaning and its choices into comment lines."""
    choices = [choice for option in _alternatives(hint) for choice in _choices(option)]
    allowed = f"One of {', '.join(_literal(choice) for choice in choices)}." if choices else ""
    wrapped = textwrap.wrap(
        f"{meaning} {allowed}".strip(), _COMMENT_WIDTH - 2, break_on_hyphens=False, break_long_words=False
    )
    return [f"# {line}" for line in wrapped]


def _option_line(field: dataclasses.Field[Any], hint: Any, value: Any, *, where: str) -> str | None:
    """Write `name = value`, or None where leaving the option out says the same."""
    if value is not None:
        return f"{field.name} = {_literal(_convert(hint, value, where=where))}"
    if field.default is None:
        return None
    if not _has_unset_word(hint):
        raise ConfigError(f"{where} is None, which TOML cannot say beside the default {field.default!r}.")
    return f"{field.name} = {_literal(_UNSET)}"


def _literal(value: Any) -> str:
    """Write one value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML forbids a raw DEL, JSON does not
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return repr(value)


@functools.cache
def partial(config_class: type) -> type[Any]:
    """Make the config whose every option may be left out, so that only given ones override.

    Args:
        config_class: The dataclass to follow.

    Returns:
        A frozen dataclass with the same fields, all keyword-only and None by default; its docstring lists each
        meaning with the default it leaves in place. `"none"` unsets an option whose default is a value.
    """
    hints = _hints(config_class)
    fields = [
        (field.name, _optional(hints[field.name], field), dataclasses.field(default=None))
        for field in _fields(config_class)
    ]
    made = dataclasses.make_dataclass(f"Partial{config_class.__name__}", fields, frozen=True, kw_only=True)
    made.__module__ = config_class.__module__
    made.__doc__ = _partial_doc(config_class)
    return made


def _optional(hint: Any, field: dataclasses.Field[Any]) -> Any:
    """Add None for "not given" to a type, and the word that unsets an option whose default is a value."""
    return Literal["none"] | hint if _has_unset_word(hint) and field.default is not None else hint | None


def _partial_doc(config_class: type) -> str:
    """List the fields with their meaning and default, as a docstring does."""
    docs = field_docs(config_class)
    lines = [f"Options of {config_class.__name__} that were given.", "", "Attributes:"]
    for field in _fields(config_class):
        known = field.default not in (dataclasses.MISSING, None)
        default = f" Default: {_literal(field.default)}." if known else ""
        lines.append(f"    {field.name}: {docs[field.name]}{default}")
    return "\n".join(lines)


def given(options: Any) -> dict[str, Any]:
    """List the options that were given.

    Args:
        options: An instance of a class made by `partial`.

    Returns:
        Option to value, without those that are None; `build` over `{**asdict(base), **given(options)}` applies them.
    """
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: value for name, value in values.items() if value is not None}


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    """Return the value as the type says, or raise naming both."""
    for option in _alternatives(hint):
        converted = _as_type(option, value)
        if converted is not _REFUSED:
            return converted
    if _has_unset_word(hint) and value == _UNSET:
        return None
    raise ConfigError(f"{where} got {_shown(value)}, expected {_expected(hint)}{_nearest_choice(hint, value)}")


_REFUSED = object()


def _as_type(option: Any, value: Any) -> Any:
    """Return the value as one type without alternatives, or `_REFUSED`."""
    if get_origin(option) is tuple:
        items = (
            [_as_type(get_args(option)[0], item) for item in value] if isinstance(value, list | tuple) else [_REFUSED]
        )
        return _REFUSED if _REFUSED in items else tuple(items)
    if get_origin(option) is Literal:
        same = [choice for choice in get_args(option) if type(choice) is type(value) and choice == value]
        return same[0] if same else _REFUSED
    if option is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _REFUSED if math.isnan(value) else float(value)
    return value if type(value) is option else _REFUSED


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Split `X | None` into its parts; any other type is its only part."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _has_unset_word(hint: Any) -> bool:
    """Whether the word that unsets the option cannot be mistaken for a value of it."""
    options = _alternatives(hint)
    return type(None) in options and str not in options and all(_UNSET not in _choices(option) for option in options)


def _choices(option: Any) -> tuple[Any, ...]:
    """List the values of a `Literal`; nothing for other types."""
    return get_args(option) if get_origin(option) is Literal else ()


def _expected(hint: Any) -> str:
    """Say in words which values a type takes."""
    words = []
    for option in _alternatives(hint):
        if option is type(None):
            words.append(f'"{_UNSET}"' if _has_unset_word(hint) else "nothing")
        elif get_origin(option) is tuple:
            words.append(f"a list, each {_expected(get_args(option)[0])}")
        else:
            words.append(_KINDS.get(option) or "one of " + ", ".join(_literal(choice) for choice in _choices(option)))
    return " or ".join(words)


def _shown(value: Any) -> str:
    """Write a refused value so that its type shows: a string is quoted, a table is braced."""
    text = _literal(tuple(value) if isinstance(value, list) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest_choice(hint: Any, value: Any) -> str:
    """End a sentence, with the choice nearest to a misspelt one."""
    choices = [choice for option in _alternatives(hint) for choice in _choices(option) if isinstance(choice, str)]
    return _nearest(value, choices) if isinstance(value, str) else "."


def _nearest(name: str, valid: Iterable[str]) -> str:
    """End a sentence, with the valid name nearest to `name` if one is near."""
    near = difflib.get_close_matches(name.replace("-", "_"), list(valid), n=1)
    return f"; did you mean {near[0]}?" if near else "."


def _sections(configs: Mapping[str, type]) -> str:
    """List the valid sections with their options."""
    return "Sections: " + "; ".join(
        f"[{section}] {', '.join(field.name for field in _fields(config))}" for section, config in configs.items()
    )


def _fields(config_class: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    """List a config's fields."""
    return dataclasses.fields(config_class)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether the field has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def _hints(config_class: type) -> dict[str, Any]:
    """Resolve a config's annotations, inherited ones included."""
    return get_type_hints(config_class)


def refuse_unknown(what: str, names: Sequence[str], known: Collection[str]) -> None:
    """Raise a ConfigError unless there are names and all of them are known."""
    if not names or any(name not in known for name in names):
        raise ConfigError(f"{what} are {', '.join(names) or 'none'}; expected some of {', '.join(known)}")
