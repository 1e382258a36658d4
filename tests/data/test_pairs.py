"""Pairs of sentences: the files people have, and what is refused by its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rnnkit.data.pairs import PairColumns, Pairs, read_pairs
from rnnkit.errors import ConfigError, DataError


def write(folder: Path, **files: str) -> list[Path]:
    paths = [folder / name.replace("_", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_text(content)
    return paths


def flat(pairs: Pairs) -> list[tuple[str, str]]:
    return list(pairs.flat())


TWO = [("Go.", "Va !"), ("I am here.", "Je suis l\u00e0.")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "Go.\tVa !\nI am here.\tJe suis l\u00e0.\n"),
        ("a.tsv", "source\ttarget\nGo.\tVa !\nI am here.\tJe suis l\u00e0."),
        ("a.tsv", "target\tsource\nVa !\tGo.\r\nJe suis l\u00e0.\tI am here.\r\n"),
        ("a.csv", '"source","target"\n"Go.","Va !"\n"I am here.","Je suis l\u00e0."\n'),
        ("a.jsonl", '{"source": "Go.", "target": "Va !"}\n{"source": "I am here.", "target": "Je suis l\u00e0."}\n'),
        (
            "a.jsonl",
            '{"translation": {"en": "Go.", "fr": "Va !"}}\n'
            '{"translation": {"en": "I am here.", "fr": "Je suis l\u00e0."}}\n',
        ),
    ],
)
def test_tables_and_json_lines_give_the_same_pairs(name: str, content: str, tmp_path: Path):
    (tmp_path / name).write_text(content)
    assert flat(read_pairs([tmp_path / name])) == TWO


def test_parallel_files_give_a_pair_a_line(tmp_path: Path):
    paths = write(tmp_path, a_en="Go.\nI am here.\n", a_fr="Va !\nJe suis l\u00e0.\n")
    assert flat(read_pairs(paths)) == TWO
    with gzip.open(tmp_path / "a.fr.gz", "wt") as file:
        file.write("Va !\nJe suis l\u00e0.\n")
    assert flat(read_pairs([paths[0], tmp_path / "a.fr.gz"])) == TWO


def test_several_translations_of_a_source_stay_together(tmp_path: Path):
    paths = write(tmp_path, a_en="Go.\nNo.\n", b_fr="Va !\nNon.\n", c_fr="Allez !\nNon.\n")
    found = read_pairs(paths)
    assert [one.targets for one in found.pairs] == [("Va !", "Allez !"), ("Non.",)]
    (tmp_path / "t.tsv").write_text("Go.\tVa !\nGo.\tAllez !\nNo.\tNon.\nGo.\tVa !\n")
    found = read_pairs([tmp_path / "t.tsv"])
    assert [(one.source, one.targets, one.line) for one in found.pairs] == [
        ("Go.", ("Va !", "Allez !"), 1),
        ("No.", ("Non.",), 3),
        ("Go.", ("Va !",), 4),
    ]
    (tmp_path / "t.jsonl").write_text(json.dumps({"source": "Go.", "target": ["Va !", "Allez !"]}))
    assert read_pairs([tmp_path / "t.jsonl"]).pairs[0].targets == ("Va !", "Allez !")


def test_columns_are_found_by_their_names(tmp_path: Path):
    (tmp_path / "a.csv").write_text("de,en,fr\nGeh.,Go.,Va !\n")
    found = read_pairs([tmp_path / "a.csv"], PairColumns(source="en", target="fr"))
    assert flat(found) == [("Go.", "Va !")]
    with pytest.raises(ConfigError, match="target_column is 'es', which .*a.csv does not have; expected .* de, en, fr"):
        read_pairs([tmp_path / "a.csv"], PairColumns(source="en", target="es"))
    with pytest.raises(ConfigError, match="source_column and target_column are both 'en'"):
        read_pairs([tmp_path / "a.csv"], PairColumns(source="en", target="en"))


def test_rows_that_lack_a_side_are_left_out_and_named(tmp_path: Path):
    lines = [("word", "mot")] * 20 + [("", "mot"), ("word", " ")]
    paths = write(
        tmp_path, a_en="".join(f"{one}\n" for one, _ in lines), a_fr="".join(f"{other}\n" for _, other in lines)
    )
    found = read_pairs(paths)
    assert len(flat(found)) == 1  # neighbours with one source are one
    assert any("a.en:21: the source is empty; " in note and "a.en:22: the translation" in note for note in found.notes)


def test_pairs_that_occur_again_or_say_the_same_are_counted(tmp_path: Path):
    (path,) = write(tmp_path, a_tsv="a.\tb.\nc.\tc.\na.\tb.\n")
    notes = read_pairs([path]).notes
    assert "1 of 3 pairs occur again" in notes
    assert "1 of 3 pairs have the same text on both sides" in notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a_en": "one\ntwo\n", "a_fr": "un\n"}, "a.en has 2 lines and .*a.fr has 1; expected as many"),
        ({"a_en": "one\n"}, "a.en: one plain file is given; expected a table"),
        ({"a_tsv": "one\tun\n", "b_en": "two\n"}, "b.en is a plain file and .*a.tsv is a table"),
        ({"a_tsv": "only one column.\nand again.\n"}, "there is one column"),
        ({"a_jsonl": '{"source": "Go."}\n'}, "its objects have one key"),
        ({"a_jsonl": '{"source": "Go.", "target": "Va"\n'}, "a.jsonl:1: this is no JSON"),
        ({"a_en": "a\n\n\n", "a_fr": "x\ny\nz\n"}, "2 of 3 rows cannot be used: .*a.en:2: the source is empty"),
    ],
)
def test_files_that_cannot_be_used_are_refused(files: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        read_pairs(write(tmp_path, **files))


def test_an_empty_file_and_one_of_another_encoding_are_named(tmp_path: Path):
    (path,) = write(tmp_path, a_tsv="")
    with pytest.raises(DataError, match="a.tsv"):
        read_pairs([path])
    (tmp_path / "l.en").write_bytes("caf\u00e9\n".encode("utf-8"))
    (tmp_path / "l.fr").write_bytes("caf\u00e9 cr\u00e8me\n".encode("latin-1"))
    with pytest.raises(DataError, match="l.fr: .*2 of 11 bytes are not UTF-8"):
        read_pairs([tmp_path / "l.en", tmp_path / "l.fr"])
