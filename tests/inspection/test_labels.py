"""Findings in labelled examples: each against a table small enough to check by eye."""

from rnnkit.inspection import Item, LabelInspection, inspect_labels


def items(*rows: tuple[str, str], file: str = "t.csv") -> list[Item]:
    return [
        Item(text, tuple(label.split("|")) if label else (), f"{file}:{line}", len(text.split()))
        for line, (text, label) in enumerate(rows, start=2)
    ]


def inspect(*rows: tuple[str, str], valid: list[Item] | None = None) -> LabelInspection:
    parts = {"training": items(*rows)} | ({} if valid is None else {"validation": valid})
    return inspect_labels(parts, unit="words")


def test_labels_are_counted_in_each_part_the_most_frequent_first():
    found = inspect(("a", "x"), ("b", "y"), ("c", "y"), valid=items(("d", "x"), ("e", "z")))
    assert found.labels == {
        "x": {"training": 1, "validation": 1},
        "y": {"training": 2, "validation": 0},
        "z": {"training": 0, "validation": 1},
    }
    assert any("in validation alone: z" in warning for warning in found.warnings)


def test_lengths_have_percentiles_and_the_longest_has_its_place():
    found = inspect(*((f"w{n} " * 2, "x") for n in range(99)), ("long " * 300, "y"))
    assert (found.longest, found.longest_at) == (300, "t.csv:101")
    assert found.lengths[50] == found.lengths[90] == 2
    assert any("t.csv:101 has 300 words" in warning for warning in found.warnings)


def test_copies_contradictions_and_leaks_are_found_with_their_places():
    valid = items(("same", "x"), ("new", "y"), file="v.csv")
    found = inspect(("same", "x"), ("other", "y"), ("same", "x"), ("other", "x"), valid=valid)
    assert (found.copies, found.copied) == (2, [("t.csv:4", "t.csv:2"), ("t.csv:5", "t.csv:3")])
    assert found.conflicts == [("other", ["y at t.csv:3", "x at t.csv:5"])]
    assert (found.leaked, found.leaks) == (1, [("v.csv:2", "t.csv:2")])
    assert any("too good" in warning for warning in found.warnings)


def test_labels_in_another_order_are_no_contradiction():
    assert inspect(("a", "x|y"), ("a", "y|x"), ("b", "z")).conflicts == []


def test_rare_labels_are_named_and_weights_recommended():
    found = inspect(*((f"t{n}", "common") for n in range(200)), ("one", "rare"))
    assert any("fewer than 10 examples: rare (1)" in warning for warning in found.warnings)
    assert any("200 times" in warning for warning in found.warnings)
    assert any("--class-weights balanced" in text for text in found.recommendations)


def test_clean_examples_have_no_warning():
    found = inspect(*((f"text number {n}", "xy"[n % 2]) for n in range(40)))
    assert (found.warnings, found.recommendations) == ([], [])


def test_rows_left_out_are_listed():
    found = inspect_labels({"training": items(("a", "x"), ("b", "y"))}, unit="words", bad=[("t.csv", 9, "no text")])
    assert found.bad == [("t.csv:9", "no text")]
    assert dict(found.sections())["Rows left out"] == [("t.csv:9", "no text")]
