"""Where words begin and end: learnt from tokenised text, exact in characters, the same for a stream."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnkit.data.words import WordRules

TOKENISED = ["it", "'s", "she", "'s", "do", "n't", "is", "n't", "Mr.", "Mr.", "AT&T", "AT&T", ":)", ":)", "@ann", "."]
LEARNT = WordRules.learn(TOKENISED)
RULES = [WordRules(), LEARNT]


def words(rules: WordRules, text: str) -> list[str]:
    return [text[start:end] for start, end in rules.split(text)]


def test_it_sees_how_a_text_is_split():
    assert LEARNT.clitics == ("n't", "'s")
    assert set(LEARNT.kept) == {"Mr.", "AT&T", ":)"}
    assert (LEARNT.mentions, LEARNT.hyphens) == (True, True)
    assert not WordRules.learn(["@", "ann", "well", "-", "known", "-", "x-y"]).hyphens
    assert WordRules.learn([]) == WordRules()


@pytest.mark.parametrize(
    ("rules", "text", "expected"),
    [
        (WordRules(), "It's Mr. Ann's, isn't it?", ["It's", "Mr", ".", "Ann's", ",", "isn't", "it", "?"]),
        (LEARNT, "It's Mr. Ann's, isn't it?", ["It", "'s", "Mr.", "Ann", "'s", ",", "is", "n't", "it", "?"]),
        (LEARNT, "AT&T, xAT&T @bob_1 :)", ["AT&T", ",", "xAT", "&", "T", "@bob_1", ":)"]),
        (WordRules(), "@bob a well-known #1", ["@", "bob", "a", "well-known", "#", "1"]),
        (WordRules(hyphens=False), "a well-known-", ["a", "well", "-", "known", "-"]),
        (WordRules(), "the U.S. (1,234.5%) at 10:30", ["the", "U.S.", "(", "1,234.5", "%", ")", "at", "10:30"]),
        (WordRules(), "well -- so...", ["well", "--", "so", "..."]),
        (WordRules(), "see https://a.b/c?d=1, a.b@c.de.", ["see", "https://a.b/c?d=1", ",", "a.b@c.de", "."]),
        (WordRules(), "naïve हिन्दी 😀x «été»", ["naïve", "हिन्दी", "😀", "x", "«", "été", "»"]),
        (LEARNT, "the cat’s", ["the", "cat", "’s"]),
        (WordRules(), " \t\n", []),
    ],
)
def test_a_text_is_split(rules: WordRules, text: str, expected: list[str]):
    assert words(rules, text) == expected


@given(st.text(), st.sampled_from(RULES))
def test_words_hold_every_visible_character_once_and_in_order(text: str, rules: WordRules):
    places = rules.split(text)
    assert all(start < end for start, end in places)
    assert "".join(words(rules, text)) == "".join(text.split())
    assert places == sorted(places)


@given(
    st.lists(st.text(alphabet="aB1.,'’-@#:/)&T \tn't", max_size=12), min_size=2, max_size=4),
    st.sampled_from([" ", "\n", "\t"]),
    st.sampled_from(RULES),
)
def test_a_cut_at_a_space_changes_no_word(parts: list[str], space: str, rules: WordRules):
    assert words(rules, space.join(parts)) == [word for part in parts for word in words(rules, part)]


def test_rules_are_the_same_after_saving():
    assert WordRules.from_dict(LEARNT.to_dict()) == LEARNT


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "a." * 150_000, "'" * 300_000, "1," * 150_000, "a-" * 150_000, "@" * 300_000]
)
def test_a_long_line_takes_time_in_proportion(text: str):
    began = time.perf_counter()
    assert "".join(words(LEARNT, text)) == text
    assert time.perf_counter() - began < 3
