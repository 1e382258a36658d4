"""Tables of series: the layouts people have, and what is refused by its line."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rnnkit.data.panel import Panel
from rnnkit.data.panel_files import PanelColumns, read_panel_file, read_panel_frame
from rnnkit.data.stamps import Frequency
from rnnkit.errors import ConfigError, DataError


def read(folder: Path, content: str, **columns: Any) -> Panel:
    path = folder / "a.csv"
    path.write_text(content)
    return read_panel_file(path, PanelColumns(**columns))


def values_of(panel: Panel) -> dict[str, list[float]]:
    return {one.name: one.values.tolist() for one in panel.series}


def test_a_long_table_has_a_series_for_each_name_in_the_order_of_the_rows(tmp_path: Path):
    panel = read(tmp_path, "unique_id,ds,y\nb,2024-01-01,1\nb,2024-01-02,2\na,2024-01-02,5\na,2024-01-03,6\n")
    assert values_of(panel) == {"b": [1, 2], "a": [5, 6]}
    assert panel.series[1].first - panel.series[0].first == 1
    assert panel.series[1].place == f"{tmp_path / 'a.csv'}:4"


def test_a_wide_table_has_a_series_for_each_column_of_numbers(tmp_path: Path):
    panel = read(tmp_path, "date,oil,gas,note\n2024-01-01,1,3,x\n2024-01-02,2,4,y\n")
    assert values_of(panel) == {"oil": [1, 2], "gas": [3, 4]}


def test_a_table_without_a_header_or_a_time_has_numbered_steps(tmp_path: Path):
    panel = read(tmp_path, "1.5,2\n3.5,4\n5.5,6\n")
    assert values_of(panel) == {"1": [1.5, 3.5, 5.5], "2": [2, 4, 6]}
    assert panel.frequency == Frequency("step")
    assert any("no column of time stamps" in note for note in panel.notes)


def test_the_date_may_stand_in_several_columns(tmp_path: Path):
    panel = read(tmp_path, "No,year,month,day,hour,pm\n1,2024,1,1,0,5\n2,2024,1,1,1,6\n", target="pm")
    assert panel.frequency.words == "hourly"
    assert values_of(panel) == {"pm": [5, 6]}


def test_a_table_may_have_a_series_a_row_of_different_lengths(tmp_path: Path):
    panel = read(tmp_path, '"V1","V2","V3","V4","V5","V6","V7"\n"H1",1,2,3,4,5,6\n"H2",7,8,9,10,11,\n')
    assert values_of(panel) == {"H1": [1, 2, 3, 4, 5, 6], "H2": [7, 8, 9, 10, 11]}


def test_rows_are_put_in_order_gaps_stay_missing_and_the_later_of_two_counts(tmp_path: Path):
    content = "ds,y\n2024-01-05,5\n2024-01-01,1\n2024-01-02,\n2024-01-01,7\n2024-01-03,3\n"
    panel = read(tmp_path, content)
    assert np.array_equal(panel.series[0].values, [7, np.nan, 3, np.nan, 5], equal_nan=True)
    assert any("1 rows stand on a step that a later row has too" in note for note in panel.notes)


@pytest.mark.parametrize("missing", ["", "NA", "nan", "?", " - ", "N/A", "null"])
def test_missing_values_are_told_by_many_words(missing: str, tmp_path: Path):
    panel = read(tmp_path, f"ds,y\n2024-01-01,1\n2024-01-02,{missing}\n2024-01-03, 3 \n")
    assert np.array_equal(panel.series[0].values, [1, np.nan, 3], equal_nan=True)


def test_columns_beside_the_values_keep_their_kind(tmp_path: Path):
    content = "ds,y,wind,sky,sale,shop\n2024-01-01,1,0.5,sun,0,north\n2024-01-02,2,,NA,1,north\n2024-01-03,,,,1,north\n"
    (series,) = read(tmp_path, content, target="y", past=("wind", "sky"), future=("sale",), static=("shop",)).series
    assert len(series) == 2
    assert np.array_equal(series.past["wind"], [0.5, np.nan], equal_nan=True)
    assert series.past["sky"].tolist() == ["sun", None]
    assert series.future["sale"].tolist() == [0, 1, 1]  # the last row tells what is ahead
    assert series.static == {"shop": "north"}


def test_parquet_and_frames_give_what_the_text_gives(tmp_path: Path):
    days = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")
    frame = pl.DataFrame({"ds": days, "y": [1.0, None, 3.25, 4.0, 5.0], "n": [1, 2, 3, 4, None]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "b.csv")
    columns = PanelColumns(target="y", past=("n",))
    found = [
        read_panel_file(tmp_path / "a.parquet", columns),
        read_panel_file(tmp_path / "b.csv", columns),
        read_panel_frame(frame, columns),
        read_panel_frame(frame.to_dict(as_series=False), columns),
    ]
    for panel in found:
        assert panel.frequency == found[0].frequency
        assert panel.series[0].first == found[0].series[0].first
        assert np.array_equal(panel.series[0].values, [1, np.nan, 3.25, 4, 5], equal_nan=True)
        assert np.array_equal(panel.series[0].past["n"], [1, 2, 3, 4, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("ds,y\n2024-01-01,1\n2024-01-02,many\n", {"target": "y"}, r"a.csv:3: target column 'y' is 'many'"),
        ("ds,y\n2024-01-01,1\n2024-01-02,inf\n", {"target": "y"}, r"a.csv:3: target column 'y' is infinite"),
        ("id,ds,y\na,2024-01-01,1\na,2024-01-02,2\nb,2024-01-01,\nb,2024-01-02,\n", {}, "a.csv:4: series 'b' has no"),
        ("ds,y\n2024-01-01,1\n2024-01-02,2,3\n", {}, "a.csv:3: the table cannot be read: .* rows of one width"),
        ('ds,y\n2024-01-01,1\n2024-01-02,"2\n', {}, "a.csv: the table cannot be read"),
        ("ds,y\n", {}, "a.csv: the file has no row below its header"),
        ("year,month,y\n2024,1,5\n2024,,6\n", {}, "a.csv:3: 'month' is missing"),
        (
            "id,ds,y\na,2024-01-01,1\na,2024-01-02,2\nb,2024-01-01,1\nb,2024-01-08,2\n",
            {},
            "a.csv: series 'a' is daily and series 'b' is weekly",
        ),
        ("ds,text\n2024-01-01,a\n2024-01-02,b\n", {}, "no column holds numbers"),
        ('V1,V2,V3,V4,V5,V6\n"H1",1,2,3,4,5\n"H2",,,,,\n', {}, "a.csv:3: series 'H2' has no value"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_its_line(
    content: str, columns: dict[str, Any], message: str, tmp_path: Path
):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, **columns)


def test_a_column_that_is_not_there_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="target_column is 'sales', which .* does not have; expected one of ds, y"):
        read(tmp_path, "ds,y\n2024-01-01,1\n2024-01-02,2\n", target="sales")


def test_a_known_grid_refuses_what_stands_on_no_step():
    hourly = Frequency("second", 3600)
    table = {"ds": ["2024-01-01 00:00", "2024-01-01 00:30"], "y": [1.0, 2.0]}
    with pytest.raises(DataError, match="the frame:2: the time 2024-01-01T00:30:00 is on no step"):
        read_panel_frame(table, PanelColumns(), frequency=hourly)
    with pytest.raises(DataError, match="of another kind"):
        read_panel_frame({"ds": [1, 2], "y": [1.0, 2.0]}, PanelColumns(), frequency=hourly)
