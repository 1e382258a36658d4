"""How well a language model predicts a text, in every unit of the field."""

import math

from rnnkit.errors import DataError


def language_model_metrics(
    total_nats: float, *, tokens: int, characters: int, bytes: int, words: int
) -> dict[str, float]:
    """Express one total negative log-likelihood in every unit of the field.

    The total is the same whatever the vocabulary, so the figures per character, byte and word compare models whose
    tokens differ; those per token do not (Mielke 2019, "Can you compare perplexity across different segmentations?").

    Args:
        total_nats: Sum over all predicted tokens of -ln p(token), in nats.
        tokens: How many tokens were predicted.
        characters: Length of the same text in Unicode characters.
        bytes: Length of the same text in UTF-8 bytes.
        words: Words of the same text in the sense of the published figure (WikiText-2 counts line ends); may be 0.

    Returns:
        nats (per token), nats_per_character, perplexity (e to the nats per token), bits_per_character, bits_per_byte
        and, where there are words, word_perplexity. A perplexity too large for a float is inf.

    Raises:
        DataError: If a count but that of words is not positive, or the total is not a number.

    Example:
        >>> metrics = language_model_metrics(math.log(2) * 80, tokens=10, characters=40, bytes=80, words=8)
        >>> round(metrics["bits_per_byte"], 6), round(metrics["perplexity"], 6)
        (1.0, 256.0)
    """
    for name, count in (("tokens", tokens), ("characters", characters), ("bytes", bytes)):
        if count <= 0:
            raise DataError(f"cannot average over {count} {name}; expected 1 or more: is the evaluated text empty?")
    if math.isnan(total_nats):
        raise DataError(
            "the total of the nats is NaN; expected a number: the model has diverged or its input is damaged."
        )
    by_word = {"word_perplexity": exponential(total_nats / words)} if words else {}
    return {
        "nats": total_nats / tokens,
        "nats_per_character": total_nats / characters,
        "perplexity": exponential(total_nats / tokens),
        **by_word,
        "bits_per_character": total_nats / characters / math.log(2),
        "bits_per_byte": total_nats / bytes / math.log(2),
    }


def exponential(nats: float) -> float:
    """Return e to the nats; inf where that is too large for a float."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
