"""Training: a net, images and a protocol in, a stream of records out. Knows no database and no terminal."""

from ranbench.training.checkpoint import Checkpoints
from ranbench.training.evaluate import Evaluated, evaluate
from ranbench.training.loop import Finished, Record, Stepped, Training
from ranbench.training.paths import PATHS, Arithmetic, EnginePath, choose_path
from ranbench.training.ranks import ALONE, Group, Ranks, check_shares
from ranbench.training.schedule import learning_rate
from ranbench.training.together import Outcome, Together, room_beside

__all__ = [
    "ALONE",
    "PATHS",
    "Arithmetic",
    "Checkpoints",
    "EnginePath",
    "Evaluated",
    "Finished",
    "Group",
    "Outcome",
    "Ranks",
    "Record",
    "Stepped",
    "Together",
    "Training",
    "check_shares",
    "choose_path",
    "evaluate",
    "learning_rate",
    "room_beside",
]
