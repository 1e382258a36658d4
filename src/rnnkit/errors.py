"""Say what went wrong with the user's input: what was got, what was expected, where, what to do."""


class RnnkitError(Exception):
    """Any problem rnnkit reports on purpose; the command line prints it alone and exits with `exit_code`."""

    exit_code = 2


class ConfigError(RnnkitError):
    """An option is unknown, of the wrong type, or does not fit another: change the option it names."""


class DataError(RnnkitError):
    """A data file cannot be used: mend the line or the file it names (file:line)."""


class ShapeError(RnnkitError):
    """A tensor does not have the shape a layer expects: compare the two shapes in the message."""


class CheckpointError(RnnkitError):
    """A run or model folder is missing, damaged or not ours: name another folder, or train again."""


class StreamError(RnnkitError):
    """A stream was used out of order, or its saved state is not from this model: reset it."""


class RunError(RnnkitError):
    """A run failed though the input was fine (diverged, disk full): its last good checkpoint is kept."""

    exit_code = 3
