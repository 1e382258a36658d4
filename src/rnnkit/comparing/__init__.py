"""An honest comparison of layers: the same data and budget, several seeds, and what the differences are worth."""

from rnnkit.comparing.comparison import LayerComparison, compare, fitting_sizes
from rnnkit.comparing.judgement import judge
from rnnkit.comparing.trials import Trial, Work, run_trial

__all__ = ["LayerComparison", "Trial", "Work", "compare", "fitting_sizes", "judge", "run_trial"]
