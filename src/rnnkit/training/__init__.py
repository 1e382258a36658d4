"""Training: one loop for every task, from files to a run folder."""

from rnnkit.training.callbacks import Callback, ProgressBar
from rnnkit.training.config import TrainingConfig
from rnnkit.training.launch import TrainResult, resume, train
from rnnkit.training.tensorboard import TensorBoard
from rnnkit.training.trainer import Trainer

__all__ = ["Callback", "ProgressBar", "TensorBoard", "TrainResult", "Trainer", "TrainingConfig", "resume", "train"]
