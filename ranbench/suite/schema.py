"""The form of a suite file as JSON Schema, for editors: allowed keys, axes, metrics and datasets as one types.

It says less than ``load_suite`` checks: whether a cell is in the matrix, or a unit fits its metric, no schema can say.
"""

from __future__ import annotations

from typing import Any

from ranbench.catalogue import DATASETS, FACTORY_NAME, IMAGE_FOLDER
from ranbench.records import ALL_METRICS
from ranbench.suite.form import SuiteFile
from ranbench.suite.values import AXES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def suite_schema() -> dict[str, Any]:
    """Return the JSON Schema of a suite file."""
    schema = SuiteFile.model_json_schema()
    parts: dict[str, dict[str, Any]] = {"SuiteFile": schema, **schema["$defs"]}
    for name, part in parts.items():
        properties = part.get("properties", {})
        for key, value in properties.items():
            properties[key] = _narrowed(name, key, value)
    return {"$schema": DIALECT, **schema, "title": "ranbench suite"}


def _narrowed(part: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
    """Name what may stand in a place where the form takes any text."""
    if key == "metric":
        return {**value, "enum": list(ALL_METRICS)}
    if key == "along":
        return {**value, "enum": list(AXES)}
    if key == "over":
        return {**value, "items": {"enum": list(AXES)}}
    if part == "SuiteFile" and key == "datasets":
        names = [{"enum": [*DATASETS, IMAGE_FOLDER]}, {"pattern": f"^{FACTORY_NAME}$"}]
        return {**value, "propertyNames": {"anyOf": names}}
    if part == "CellsBlock" and key == "matrix":
        return {**value, "propertyNames": {"enum": list(AXES)}}
    return _with_axes(value)


def _with_axes(value: dict[str, Any]) -> dict[str, Any]:
    """Name the axes of every selector inside: a mapping whose values are text or numbers."""
    changed = {**value}
    for key in ("items", "anyOf"):
        inside = changed.get(key)
        if isinstance(inside, dict):
            changed[key] = _with_axes(inside)
        elif isinstance(inside, list):
            changed[key] = [_with_axes(one) for one in inside]
    held = changed.get("additionalProperties")
    if isinstance(held, dict) and "anyOf" in held:
        changed["propertyNames"] = {"enum": list(AXES)}
    return changed
