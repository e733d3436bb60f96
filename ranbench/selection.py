"""Runs chosen by what a user sees of them: ``KEY=VALUE`` and its like, all of which must hold; no language."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from ranbench.errors import UsageError, nearest
from ranbench.records import METRICS, SERIES, Reason, RunRecord, State
from ranbench.spec import RunSpec, is_smoke, spec_fields

StateOf = Callable[[RunRecord], str]
Kind = Literal["number", "truth", "text", "list", "beginning", "names"]

NONE = "none"  # what a field that is left out is called
_PARTS = re.compile(r"([^=!<>]+)(!=|<=|>=|=|<|>)(.+)", re.DOTALL)
_EXPECTED = "expected KEY=VALUE (or !=, and <, <=, >, >= for numbers), for instance model=attention-56"
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Key:
    """What a condition may name: how its value is found in a run, and what can be asked of it.

    ``kind``: ``beginning`` is text of which the first characters are given, ``names`` several texts.
    ``missing_matches``: whether a run without the value has the value ``none``, or no value at all.
    """

    name: str
    value: Callable[[RunRecord], Any]
    kind: Kind = "text"
    allowed: tuple[str, ...] = ()
    missing_matches: bool = True


@dataclass(frozen=True)
class Condition:
    """One condition, read and checked."""

    key: Key
    compare: str
    wanted: str | float | bool | None

    def holds(self, record: RunRecord) -> bool:
        """Tell whether it holds for a run."""
        found = self.key.value(record)
        if found is None and (not self.key.missing_matches or self.compare not in ("=", "!=")):
            return False
        if found is not None and self.wanted is not None and self.key.kind in ("beginning", "names"):
            has = self.wanted in found if self.key.kind == "names" else str(found).startswith(str(self.wanted))
            return bool(has) == (self.compare == "=")
        return _COMPARE[self.compare](found, self.wanted)


def select(records: Sequence[RunRecord], where: Iterable[str], state_of: StateOf) -> list[RunRecord]:
    """List the runs for which all conditions hold.

    Args:
        records: runs to choose from.
        where: conditions as text; metrics are those of the attempt that counts.
        state_of: the state of a run as it is shown.

    Raises:
        UsageError: a condition of another form, an unknown key, or a value that cannot be compared.
    """
    keys = _keys(records, state_of)
    conditions = [_read(text, keys) for text in where]
    return [record for record in records if all(condition.holds(record) for condition in conditions)]


def _read(text: str, keys: Mapping[str, Key]) -> Condition:
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise UsageError(f"--where {text!r}: {_EXPECTED}")
    name, compare, value = parts[1].strip(), parts[2], parts[3].strip()
    key = keys.get(name.replace("model.options.", "model.", 1))
    if key is None:
        raise UsageError(f"--where {name}: unknown key{_nearest(name, keys)} (allowed: {', '.join(keys)})")
    if key.kind == "list":
        raise UsageError(f"--where {text}: {name} is a list, which cannot be compared")
    if compare not in ("=", "!=") and key.kind != "number":
        raise UsageError(f"--where {text}: {name} is no number, so only = and != compare it")
    return Condition(key, compare, _value(text, key, compare, value))


def _value(text: str, key: Key, compare: str, value: str) -> str | float | bool | None:
    if value == NONE and key.missing_matches and NONE not in key.allowed and compare in ("=", "!="):
        return None
    if key.kind == "number":
        try:
            return float(value.replace(",", "").replace("_", ""))
        except ValueError:
            raise UsageError(f"--where {text}: {value!r} is not a number") from None
    allowed = ("true", "false") if key.kind == "truth" else key.allowed
    if allowed and value not in allowed:
        raise UsageError(f"--where {text}: {value!r} is not known{nearest(value, allowed)} ({_all(key, allowed)})")
    return value == "true" if key.kind == "truth" else value


def _nearest(name: str, keys: Iterable[str]) -> str:
    """Suggest a key, found by the last part of its path where the name has no dot."""
    if "." in name:
        return nearest(name, keys)
    ends = {key.rpartition(".")[2]: key for key in sorted(keys, key=len, reverse=True)}
    found = get_close_matches(name, ends, n=1, cutoff=0.5)
    return f"; did you mean '{ends[found[0]]}'?" if found else ""


def _all(key: Key, allowed: Sequence[str]) -> str:
    if key.name == "fidelity":
        return "allowed: smoke; full and scaled depend on a suite's reference, see 'ranbench report'"
    return f"allowed: {', '.join(allowed)}"


def _keys(records: Sequence[RunRecord], state_of: StateOf) -> dict[str, Key]:
    """What a user sees in the table of runs first, then metrics, then the fields of a spec."""
    keys: dict[str, Key] = {}
    fields = spec_fields(RunSpec)
    for path, field in fields.items():
        short = "model" if path == "model.name" else path.removeprefix("model.")
        if short != path:
            keys[short] = Key(short, _of_spec(path), field.kind, field.allowed)
    states = ("planned", *(state.value for state in State))
    for key in (
        Key("dataset", _of_spec("data.name")),
        Key("noise", _of_spec("noise.rate"), "number"),
        Key("suite", lambda record: record.suites, "names", missing_matches=False),
        Key("state", state_of, allowed=states, missing_matches=False),
        Key("reason", _reason, allowed=tuple(reason.value for reason in Reason)),
        Key("device", _device),
        Key("code", _code, "beginning"),
        Key("cell", lambda record: record.cell_id, "beginning", missing_matches=False),
        Key("fidelity", _fidelity, allowed=("smoke",), missing_matches=False),
    ):
        keys[key.name] = key
    measured = [name for record in records if record.counted for name in record.counted.metrics]
    for name in dict.fromkeys((*METRICS, *measured)):
        if name not in SERIES:
            keys.setdefault(name, Key(name, _metric(name), "number", missing_matches=False))
    for path, field in fields.items():
        keys.setdefault(path, Key(path, _of_spec(path), field.kind, field.allowed))
    return keys


def _of_spec(path: str) -> Callable[[RunRecord], Any]:
    def find(record: RunRecord) -> Any:
        value: Any = record.spec
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return find


def _metric(name: str) -> Callable[[RunRecord], Any]:
    return lambda record: record.counted.metrics.get(name) if record.counted else None


def _reason(record: RunRecord) -> str | None:
    failed = record.latest if record.state == "failed" else None
    return failed.reason.value if failed and failed.reason else None


def _device(record: RunRecord) -> str | None:
    attempt = record.counted or record.latest
    return attempt.environment.device if attempt else None


def _code(record: RunRecord) -> str | None:
    attempt = record.counted or record.latest
    return attempt.code_id if attempt else None


def _fidelity(record: RunRecord) -> str:
    spec = RunSpec.stored(record.fingerprint, record.spec)
    return "smoke" if is_smoke(spec.protocol, spec.data) else "not smoke"
