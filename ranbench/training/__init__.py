"""Training: a net, images and a protocol in, a stream of records out. Knows no database and no terminal."""

from ranbench.training.checkpoint import Checkpoints
from ranbench.training.evaluate import Evaluated, evaluate
from ranbench.training.loop import Finished, Stepped, Training
from ranbench.training.schedule import learning_rate

__all__ = ["Checkpoints", "Evaluated", "Finished", "Stepped", "Training", "evaluate", "learning_rate"]
