"""What is trained, as frozen values: net, data, noise, protocol, run. Their identity is computed here.

Nothing here knows of suites, devices or databases. A spec is checked when it is made, so no invalid one exists.
"""

from ranbench.spec.base import Count, Spec, canonical, digest, first_fault
from ranbench.spec.comparison import (
    COMPARED,
    Fidelity,
    FieldDifference,
    differences,
    fidelity,
    field_differences,
    is_smoke,
)
from ranbench.spec.data import (
    MAX_INPUT,
    Checksum,
    Classes,
    Colour,
    DataSpec,
    Facts,
    NoiseSpec,
    Shape,
    Skips,
    Spread,
    check_input,
    check_noise,
    chosen_input,
)
from ranbench.spec.fields import SpecField, spec_fields
from ranbench.spec.model import ModelSpec, options_of_modules
from ranbench.spec.protocol import (
    Augmentation,
    Cosine,
    Evaluation,
    OneCycle,
    Optimizer,
    Protocol,
    Schedule,
    Steps,
    WarmUp,
    check_protocol,
)
from ranbench.spec.run import CELL_FIELDS, SEED_FIELDS, RunSpec, complexity_key

__all__ = [
    "CELL_FIELDS",
    "COMPARED",
    "MAX_INPUT",
    "SEED_FIELDS",
    "Augmentation",
    "Checksum",
    "Classes",
    "Colour",
    "Cosine",
    "Count",
    "DataSpec",
    "Evaluation",
    "Facts",
    "Fidelity",
    "FieldDifference",
    "ModelSpec",
    "NoiseSpec",
    "OneCycle",
    "Optimizer",
    "Protocol",
    "RunSpec",
    "Schedule",
    "Shape",
    "Skips",
    "Spec",
    "SpecField",
    "Spread",
    "Steps",
    "WarmUp",
    "canonical",
    "check_input",
    "check_noise",
    "check_protocol",
    "chosen_input",
    "complexity_key",
    "differences",
    "digest",
    "fidelity",
    "field_differences",
    "first_fault",
    "is_smoke",
    "options_of_modules",
    "spec_fields",
]
