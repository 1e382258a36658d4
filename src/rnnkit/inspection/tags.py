"""What tagged sentences hold that the counts of their labels do not say: the scheme, ambiguous and unseen words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from rnnkit.data.schemes import Detected, detect_scheme, read_spans
from rnnkit.data.tagged import TaggedSentence
from rnnkit.inspection.labels import Item

SHOWN = 5


def tag_items(sentences: Sequence[TaggedSentence], scheme: str | None) -> list[Item]:
    """Take sentences as the same where all their words are; label them by their entities, or by all their tags.

    Args:
        sentences: Tagged.
        scheme: How tags mark entities; None where they mark none.

    Returns:
        An item for each.
    """
    return [
        Item(
            " ".join(one.words),
            one.tags if scheme is None else tuple(span.label for span in read_spans(one.tags)),
            one.place,
            len(one.words),
        )
        for one in sentences
    ]


def tag_notes(training: Sequence[TaggedSentence], validation: Sequence[TaggedSentence], found: Detected) -> list[str]:
    """Say what a person should know of tagged sentences before training on them.

    Args:
        training: To train on.
        validation: To validate on; may be empty.
        found: Their scheme.

    Returns:
        A sentence for each finding.
    """
    notes = [_scheme_note([*training, *validation], found)]
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for one in training:
        for word, tag in zip(one.words, one.tags, strict=True):
            tags[word][tag] += 1
    several = {word: counts for word, counts in tags.items() if len(counts) > 1}
    words = sum(len(one.words) for one in training)
    ambiguous = sum(counts.total() for counts in several.values())
    most = sorted(several, key=lambda word: -(several[word].total() - max(several[word].values())))[:SHOWN]
    shown = "; ".join(f"{word!r} {_tally(several[word])}" for word in most)
    notes.append(
        f"words: {words:,}, {len(tags):,} different ones; {ambiguous / words:.1%} are of a word with several tags"
        f"{': ' if shown else ''}{shown}"
    )
    if validation:
        every = [word for one in validation for word in one.words]
        unseen = sum(word not in tags for word in every)
        notes.append(f"{unseen / len(every):.1%} of the words to validate on are not in training")
    if validation and found.scheme is not None:
        known = {(span.label, one.words[span.first : span.end]) for one in training for span in read_spans(one.tags)}
        spans = [(span.label, one.words[span.first : span.end]) for one in validation for span in read_spans(one.tags)]
        strange = sum(span not in known for span in spans)
        notes.append(f"{strange:,} of the {len(spans):,} entities to validate on are not in training")
    return notes


def scheme_of(sentences: Sequence[TaggedSentence]) -> Detected:
    """Find out how tags are written."""
    return detect_scheme([one.tags for one in sentences])


def _scheme_note(sentences: Sequence[TaggedSentence], found: Detected) -> str:
    if found.scheme is None:
        return "tags: they mark no entities, each word has its own"
    if found.first_repair is None:
        return f"tags: scheme {found.scheme}"
    sentence, word = found.first_repair
    one = sentences[sentence]
    return (
        f"tags: scheme {found.scheme}, which {found.repairs:,} of them break; the first is {one.tags[word]} of "
        f"{one.words[word]!r} in the sentence at {one.place}"
    )


def _tally(counts: Counter[str]) -> str:
    return ", ".join(f"{tag} ({count})" for tag, count in counts.most_common(3))
