"""Series from every kind of file: the same values and labels come out, and what cannot be used is named."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rnnkit.data.points import points
from rnnkit.data.series import SeriesColumns, SeriesSet, read_series
from rnnkit.errors import ConfigError, DataError

ONE, TWO = [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], [[4.0, 40.0], [5.0, 50.0]]
WANTED = [(ONE, ("up",)), (TWO, ("down",))]
LONG = "id,time,a,b,label\np,0,1,10,up\np,1,2,20,up\np,2,3,30,up\nq,0,4,40,down\nq,1,5,50,down\n"
TS = "#made up\n@problemName x\n@univariate false\n@classLabel true up down\n@data\n1,2,3:10,20,30:up\n4,5:40,50:down\n"
JSON = "".join(json.dumps({"label": labels[0], "points": values}) + "\n" for values, labels in WANTED)


def write(folder: Path, content: str, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def found_in(series: SeriesSet) -> list[tuple[list[list[float]], tuple[str, ...]]]:
    return [(one.values.tolist(), one.labels) for one in series.examples]


@pytest.mark.parametrize(("name", "content"), [("t.ts", TS), ("t.jsonl", JSON), ("t.csv", LONG)])
def test_values_and_labels_are_found_in_every_kind_of_text_file(tmp_path: Path, name: str, content: str):
    assert found_in(read_series([write(tmp_path, content, name)])) == WANTED
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    assert found_in(read_series([tmp_path / f"{name}.gz"])) == WANTED


@pytest.mark.parametrize("header", ["a,b\n", ""])
def test_a_folder_a_label_with_a_file_a_series_is_read(tmp_path: Path, header: str):
    write(tmp_path, f"{header}4,40\n5,50\n", "down/1.csv")
    write(tmp_path, f"{header}1,10\n2,20\n3,30\n", "up/1.csv")
    assert sorted(found_in(read_series([tmp_path])), key=lambda one: one[1]) == sorted(WANTED, key=lambda one: one[1])


def test_arrays_are_read_with_their_lengths(tmp_path: Path):
    values = np.zeros((2, 3, 2))
    values[0], values[1, :2] = ONE, TWO
    np.savez(tmp_path / "t.npz", values=values, labels=np.array(["up", "down"]), lengths=np.array([3, 2]))
    assert found_in(read_series([tmp_path / "t.npz"])) == WANTED


def test_rows_of_a_long_table_are_put_in_the_order_of_time(tmp_path: Path):
    lines = LONG.splitlines()
    path = write(tmp_path, "\n".join([lines[0], lines[3], lines[5], lines[1], lines[4], lines[2]]), "t.csv")
    assert sorted(found_in(read_series([path]))) == sorted(WANTED)


def test_channels_and_columns_can_be_named(tmp_path: Path):
    path = write(tmp_path, LONG.replace("label", "kind").replace("id", "who"), "t.csv")
    columns = SeriesColumns(values="b", label="kind", id="who")
    assert found_in(read_series([path], columns))[1] == ([[40.0], [50.0]], ("down",))
    two = write(tmp_path, '{"label": 1, "a": [1, 2], "b": [3, 4]}\n{"label": 2, "a": [5], "b": [6]}\n', "t.jsonl")
    assert found_in(read_series([two], SeriesColumns(values="b"))) == [([[3.0], [4.0]], ("1",)), ([[6.0]], ("2",))]
    with pytest.raises(DataError, match="several lists: a, b; name the key with --values-key"):
        read_series([two])


def test_the_letters_of_a_key_name_its_channels(tmp_path: Path):
    path = write(tmp_path, '{"label": "a", "xyt": [[1, 2, 3]]}\n{"label": "b", "xyt": [[1, 2, 3]]}\n', "t.jsonl")
    assert read_series([path]).channels == ("x", "y", "t")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.ts", "@classLabel true a b\n@data\n1,?,3:a\n4,5,6:b\n"),
        ("t.jsonl", '{"label": "a", "v": [1, null, 3]}\n{"label": "b", "v": [4, 5, 6]}\n'),
        ("t.csv", "id,v,label\n1,1,a\n1,,a\n1,3,a\n2,4,b\n2,5,b\n2,6,b\n"),
    ],
)
def test_missing_values_are_kept_as_such(tmp_path: Path, name: str, content: str):
    first = read_series([write(tmp_path, content, name)]).examples[0].values[:, 0]
    assert np.array_equal(first, [1, np.nan, 3], equal_nan=True)


def test_series_that_cannot_be_used_are_left_out_and_named(tmp_path: Path):
    good = "".join(json.dumps({"label": "a", "v": [n, 1]}) + "\n" for n in range(20))
    path = write(tmp_path, good + '{"label": "a", "v": []}\n{"v": [1, 2]}\n{"label": "b", "v": "x"}\n', "t.jsonl")
    found = read_series([path])
    assert len(found) == 20
    assert [(line, reason) for _, line, reason in found.bad] == [
        (21, "it has no point"),
        (22, "it has no label"),
        (23, "v is no list of 1 numbers a point"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.ts", "@classLabel true a\n@data\n1,2:3:a\n", r"t\.ts:3: the channels have 1, 2 values"),
        ("t.ts", "@classLabel true a\n@data\n1,x:a\n", r"t\.ts:3: .*'x'; expected numbers"),
        ("t.ts", "@classLabel true a\n@data\n1:2:a\n1:a\n", r"t\.ts:4: there are 1 channels; expected 2"),
        ("t.ts", "1,2:a\n", r"t\.ts:1: .*expected a line that begins with @"),
        ("t.ts", "@data\n", "no series below @data"),
        ("t.ts", "@timestamps true\n@data\n1:a\n", r"t\.ts:1: series with time stamps"),
        ("t.csv", "a,b,label\n1,2,x\n3,4,y\n", "no column tells the series apart; name it with --id-column"),
        ("t.csv", "id,v,label\n1,zero,a\n2,1,b\n", r"t\.csv:2: column 'v' holds 'zero'; expected a number"),
        ("t.jsonl", '{"label": "a", "v": "none"}\n', r"t\.jsonl:1: there is no list of numbers"),
        ("t.jsonl", '{"kind": "a", "v": [1]}\n', "none of the keys kind, v is a usual label"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_their_line(tmp_path: Path, name: str, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read_series([write(tmp_path, content, name)])


def test_a_series_with_two_labels_is_named(tmp_path: Path):
    rows = "".join(f"{n},{n},a\n" for n in range(20))
    path = write(tmp_path, f"id,v,label\n{rows}x,1,a\nx,2,b\n", "t.csv")
    assert read_series([path]).bad == ((str(path), 22, "its rows have the labels a, b"),)


def test_files_of_other_channels_are_refused(tmp_path: Path):
    paths = [write(tmp_path, f"@classLabel true a\n@data\n{row}:a\n", f"{n}.ts") for n, row in enumerate(("1", "1:2"))]
    with pytest.raises(DataError, match=r"1\.ts: its series have 2 channels, those of the files before it 1"):
        read_series(paths)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"values": np.zeros((2, 3, 1))}, "the labels are none"),
        ({"values": np.zeros(3), "labels": np.arange(3)}, r"it holds values \(3,\), labels \(3,\); expected"),
        ({"values": np.zeros((2, 3)), "labels": np.arange(2), "lengths": np.array([4, 1])}, "the lengths do not fit"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str):
    np.savez(tmp_path / "t.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        read_series([tmp_path / "t.npz"])


def test_pickled_arrays_are_refused(tmp_path: Path):
    np.savez(tmp_path / "t.npz", values=np.array([[1], [2, 3]], dtype=object))
    with pytest.raises(DataError, match=r"no \.npz of plain arrays"):
        read_series([tmp_path / "t.npz"])


def test_a_column_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="id_column is 'who'"):
        read_series([write(tmp_path, LONG, "t.csv")], SeriesColumns(id="who"))
    with pytest.raises(ConfigError, match="values_key is 'xyz'.*expected one of label, points"):
        read_series([write(tmp_path, JSON, "t.jsonl")], SeriesColumns(values="xyz"))


def test_points_are_numbers_alone():
    assert points([[1, 2], [3]]) is None
    assert points([True, 1]) is None
    assert points(["1"]) is None
    assert points([10**400]) is None
    assert points([]).shape == (0, 1)  # type: ignore[union-attr]
