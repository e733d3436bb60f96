"""YAML -> Suite -> run specs. The only part that reads YAML."""

from ranbench.suite.files import find_suite, load_protocol, protocol_files, shipped_suites
from ranbench.suite.load import load_suite, recorded_suite
from ranbench.suite.protocols import protocol_options
from ranbench.suite.reading import heading, read_text
from ranbench.suite.values import (
    AXES,
    MOST_FIRST_SEED,
    Axes,
    Better,
    Cell,
    Claim,
    Counted,
    Pair,
    Published,
    Ratio,
    Suite,
    Tested,
    Trend,
    Value,
    axis_text,
    count_words,
    scaled,
    size_unit,
    words,
)

__all__ = [
    "AXES",
    "MOST_FIRST_SEED",
    "Axes",
    "Better",
    "Cell",
    "Claim",
    "Counted",
    "Pair",
    "Published",
    "Ratio",
    "Suite",
    "Tested",
    "Trend",
    "Value",
    "axis_text",
    "count_words",
    "find_suite",
    "heading",
    "load_protocol",
    "load_suite",
    "protocol_files",
    "protocol_options",
    "read_text",
    "recorded_suite",
    "scaled",
    "shipped_suites",
    "size_unit",
    "words",
]
