"""Time stamps: the styles people write, the grids they stand on, and what is refused."""

from collections.abc import Sequence

import numpy as np
import pytest

from rnnkit.data.stamps import infer_frequency, parse_stamps
from rnnkit.errors import DataError


def parsed(*cells: str) -> tuple[list[str], list[str]]:
    places = [f"a.csv:{line}" for line in range(2, len(cells) + 2)]
    stamps, notes = parse_stamps(cells, places, column="ds")
    return np.datetime_as_string(stamps, unit="s").tolist() if stamps.dtype.kind == "M" else stamps.tolist(), notes


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2024-01-31"], "2024-01-31T00:00:00"),
        (["2024-01-31T18:30:05"], "2024-01-31T18:30:05"),
        (["2024-01-31 18:30"], "2024-01-31T18:30:00"),
        (["31.01.2024"], "2024-01-31T00:00:00"),
        (["31/01/2024 6:05"], "2024-01-31T06:05:00"),
        (["01/31/2024 06:05:07 PM"], "2024-01-31T18:05:07"),
        (["Jan 31, 2024"], "2024-01-31T00:00:00"),
        (["31-Jan-2024"], "2024-01-31T00:00:00"),
        (["20240131"], "2024-01-31T00:00:00"),
        (["2024-01"], "2024-01-01T00:00:00"),
        (["1706725805"], "2024-01-31T18:30:05"),
        (["1706725805000"], "2024-01-31T18:30:05"),
        (["1999", "2000"], "1999-01-01T00:00:00"),
        (["2024-01-31 18:30:05+02:00"], "2024-01-31T16:30:05"),
        (["2024-01-31T18:30:05Z"], "2024-01-31T18:30:05"),
    ],
)
def test_stamps_are_read_in_the_styles_that_people_write(cells: list[str], expected: str):
    assert parsed(*cells)[0][0] == expected


def test_numbers_that_are_no_dates_stay_numbers():
    assert parsed("1", "2", "7")[0] == [1, 2, 7]


def test_days_and_months_are_told_apart_by_a_later_row():
    assert parsed("01/02/2024", "02/02/2024", "13/02/2024")[0] == [
        "2024-02-01T00:00:00",
        "2024-02-02T00:00:00",
        "2024-02-13T00:00:00",
    ]


def test_an_ambiguous_column_takes_the_more_even_steps_and_says_so():
    found, notes = parsed("01/02/2024", "02/02/2024", "03/02/2024")
    assert found[1] == "2024-02-02T00:00:00"
    assert "'01/02/2024' is read as DD/MM/YYYY" in notes[0]
    found, notes = parsed("01/02/2024", "02/02/2024", "03/02/2024", "04/02/2024", "05/02/2024", "06/02/2024")
    assert found[-1] == "2024-02-06T00:00:00"


def test_a_column_of_two_styles_is_refused_by_the_line_that_differs():
    with pytest.raises(DataError, match=r"a.csv:3: ds is '02.01.2024', which is DD.MM.YYYY; .* YYYY-MM-DD, as '2024"):
        parsed("2024-01-01", "02.01.2024")


@pytest.mark.parametrize("cells", [["yesterday"], ["2024-13-45"], ["", "2024-01-01"], ["2024-02-30"]])
def test_what_is_no_stamp_is_refused(cells: list[str]):
    with pytest.raises(DataError, match="a.csv:2: ds is .*, which is no time stamp"):
        parsed(*cells)


@pytest.mark.parametrize(
    ("stamps", "words", "season"),
    [
        (np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"), "daily", 7),
        (np.arange("2024-01-01T00", "2024-01-05T00", dtype="datetime64[h]"), "hourly", 24),
        (np.arange("2024-01-01T00", "2024-01-05T00", 15, dtype="datetime64[m]"), "every 15 minutes", 96),
        (np.arange("2024-01-01", "2025-01-01", 7, dtype="datetime64[D]"), "weekly", 52),
        (np.arange("2020-01", "2024-01", dtype="datetime64[M]"), "monthly", 12),
        (np.arange("2020-01", "2024-01", 3, dtype="datetime64[M]"), "quarterly", 4),
        (np.arange("1990", "2024", dtype="datetime64[Y]"), "yearly", 1),
        (np.arange(100), "numbered", 1),
    ],
)
def test_the_frequency_is_inferred_and_its_grid_gives_the_stamps_back(stamps: np.ndarray, words: str, season: int):
    stamps = stamps if stamps.dtype.kind == "i" else stamps.astype("datetime64[s]")
    found = infer_frequency([stamps], ["y"])
    assert (found.words, found.season) == (words, season)
    assert (found.stamps(found.numbers(stamps)) == stamps).all()
    assert (np.diff(found.numbers(stamps)) == 1).all()


def test_business_days_and_ends_of_months_are_grids():
    days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    weekdays = days[np.is_busday(days)].astype("datetime64[s]")
    found = infer_frequency([weekdays], ["y"])
    assert found.words == "every business day"
    assert (found.stamps(found.numbers(weekdays)) == weekdays).all()
    ends = (np.arange("2023-02", "2025-02", dtype="datetime64[M]").astype("datetime64[D]") - 1).astype("datetime64[s]")
    found = infer_frequency([ends], ["y"])
    assert found.words == "monthly"
    assert (found.stamps(found.numbers(ends)) == ends).all()


def test_gaps_and_a_jump_of_the_clock_keep_the_usual_step():
    hours = np.arange("2024-01-01T00", "2024-01-08T00", dtype="datetime64[h]").astype("datetime64[s]")
    found = infer_frequency([np.delete(hours, [5, 6, 40])], ["y"])
    assert found.words == "hourly"
    assert found.numbers(hours[7:8]) - found.numbers(hours[4:5]) == 3


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([["2024-01-01", "2024-01-02", "2024-01-03"], ["2024-01-01", "2024-01-08"]], "'a' is daily and .* 'b' is week"),
        ([["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03T11"]], "steps of 86,400 and of 39,600 seconds"),
        ([["2024-01-01"]], "no series has two time stamps"),
    ],
)
def test_no_single_grid_is_refused(series: Sequence[Sequence[str]], message: str):
    with pytest.raises(DataError, match=message):
        infer_frequency([np.array(one, dtype="datetime64[s]") for one in series], ["a", "b"][: len(series)])
