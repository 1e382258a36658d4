"""Small real data sets inside the package, so that a demonstration needs no download."""

from pathlib import Path

from rnnkit.errors import ConfigError

SAMPLES = {
    "shakespeare": "language_model/shakespeare.txt",
    "strokes": "series_classification/strokes.jsonl",
    "entities": "tagging/entities.conll",
    "weather": "forecasting/weather.csv",
    "reviews": "text_classification/reviews.csv",
    "sentences": "translation/sentences.tsv",
    "digits": "speech/digits.tsv",
}


def sample_path(name: str) -> Path:
    """Find a bundled sample file.

    Args:
        name: A key of `SAMPLES`, as "shakespeare" (99,991 characters of plays, plain ASCII).

    Returns:
        The path of the file inside the installed package.

    Raises:
        ConfigError: If there is no sample called `name`.

    Example:
        >>> sample_path("shakespeare").name
        'shakespeare.txt'
    """
    if name not in SAMPLES:
        raise ConfigError(f"no sample is called {name!r}; expected one of: {', '.join(SAMPLES)}.")
    return Path(__file__).parent / SAMPLES[name]
