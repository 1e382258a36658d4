"""What metrics are called, and how their numbers are written, for people."""

MEANINGS = {
    "nats_per_character": "nats a character",
    "perplexity": "perplexity a token",
    "word_perplexity": "perplexity a word",
    "bits_per_character": "bits a character",
    "bits_per_byte": "bits a byte",
    "unknown_share": "unknown tokens",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "unknown_accuracy": "accuracy on unknown words",
    "ece": "calibration error (ECE)",
    "accuracy_25": "accuracy after a quarter",
    "accuracy_50": "accuracy after a half",
    "accuracy_75": "accuracy after three quarters",
    "accuracy_over_shares": "accuracy over all shares",
    "early_accuracy": "accuracy of early decisions",
    "early_share": "share seen for them",
    "wer": "word errors (WER)",
    "cer": "character errors (CER)",
    "ser": "texts with an error (SER)",
    "sql": "scaled quantile loss",
    "mase": "MASE",
    "smape": "sMAPE (%)",
    "owa": "OWA, beside Naive 2",
    "wql": "weighted quantile loss (WQL)",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "coverage": "coverage of the 80 % interval",
    "width": "width of the 80 % interval, scaled",
    "msis": "MSIS of the 95 % interval",
}
SHARES = ("accuracy", "macro_f1", "micro_f1", "f1", "precision", "recall", "ece", "early_accuracy", "unknown_accuracy")
SHARES += ("coverage", "wer", "cer", "ser")
F1_OF = "f1_"  # before the type of an entity, in a metric's key


def metric_words(name: str, unit: str) -> str:
    """Say a metric's name for a person.

    Args:
        name: Its key.
        unit: What the loss counts, in the plural, as "tokens".

    Returns:
        As "nats a token".
    """
    one = unit if unit == "series" else unit.removesuffix("s")
    if name.startswith(F1_OF):
        return f"F1 of {name.removeprefix(F1_OF)}"
    return f"nats a {one}" if name == "nats" else MEANINGS.get(name, name.replace("_", " "))


def format_metric(name: str, value: float) -> str:
    """Write a metric as a table shows it: a share in percent, others to four places while they are small."""
    if name.endswith("_share") or name.startswith(("accuracy_", F1_OF)) or name in SHARES:
        return f"{value:.2%}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}" if value < 1e6 else f"{value:.3g}"
