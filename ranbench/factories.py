"""Functions of a user's own that make nets and datasets, by ``package.module:factory``: imported where trusted only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Literal

from ranbench.catalogue import import_path
from ranbench.errors import DataError, RanbenchError, SpecError, nearest, one_line

Kind = Literal["model", "dataset"]
# What a call that fails is: a net that does not take the images is a wrong spec, images that are not there no data.
FAILURES: dict[Kind, type[RanbenchError]] = {"model": SpecError, "dataset": DataError}


def call_factory(kind: Kind, name: str, *, trusted: bool, **arguments: object) -> object:
    """Import ``name`` and call it with ``arguments``; return what it makes.

    The module is looked for where Python finds modules, and after that in the current folder. What its code prints goes
    to stderr, since stdout holds the answers of a command.

    Raises:
        SpecError: not trusted, or it cannot be imported; of a net also where the call fails.
        DataError: the call of a dataset fails.
    """
    module, attribute = name.split(":")
    if not trusted:
        raise SpecError(
            f"{kind} {name!r} imports {module!r} and runs its code; --trust-imports allows it, for code that you trust"
        )
    factory = _factory(kind, name)
    try:
        with _CurrentFolder(), redirect_stdout(sys.stderr):
            return factory(**arguments)
    except (Exception, SystemExit) as error:  # whatever a user's code raises is the user's to mend
        call = f"{attribute}({', '.join(f'{key}={_shown(value)}' for key, value in arguments.items())})"
        raise FAILURES[kind](f"{kind} {name!r}: the call {call} failed: {said(error)}") from error


def factory_file(kind: Kind, name: str) -> Path:
    """Return the file of a factory's module, which belongs to the code that makes its numbers.

    Imports the module, so the name must be trusted.

    Raises:
        SpecError: the module cannot be imported, or has no file.
    """
    file = getattr(_imported(kind, name), "__file__", None)
    if file is None or not Path(file).is_file():
        raise SpecError(f"{kind} {name!r}: the module has no file, by which its code could be told from other code")
    return Path(file)


def said(error: BaseException) -> str:
    """Say what a user's code raised, with its type, on one line."""
    text = one_line(error)
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"


def _factory(kind: Kind, name: str) -> Callable[..., object]:
    module, attribute = _imported(kind, name), name.split(":")[1]
    if not hasattr(module, attribute):
        near = nearest(attribute, (word for word in vars(module) if not word.startswith("_")))
        where = getattr(module, "__file__", None) or "no file"
        raise SpecError(f"{kind} {name!r}: module {module.__name__!r} ({where}) has no {attribute!r}{near}")
    factory = getattr(module, attribute)
    if not callable(factory):
        raise SpecError(f"{kind} {name!r}: expected a callable, got {type(factory).__name__}")
    return factory  # type: ignore[no-any-return]


def _imported(kind: Kind, name: str) -> ModuleType:
    module, _ = name.split(":")
    try:
        with _CurrentFolder() as folder, redirect_stdout(sys.stderr):
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            meant = import_path(name)
            near = f"; did you mean {meant!r}?" if meant else ""
            raise SpecError(
                f"{kind} {name!r}: there is no module {error.name!r} where Python finds modules, nor in {folder}{near}"
            ) from None
        raise SpecError(f"{kind} {name!r}: cannot be imported: {said(error)}") from error


def _shown(value: object) -> str:
    return repr(str(value)) if isinstance(value, Path) else str(value)


class _CurrentFolder:
    """Lets Python look for modules in the current folder too, after all other places.

    No bytecode is written meanwhile: it is keyed by whole seconds and size, so a file that is changed within the second
    would be run as it was before.
    """

    def __enter__(self) -> str:
        self.folder = str(Path.cwd())
        self.added = self.folder not in sys.path
        self.wrote_none = sys.dont_write_bytecode
        if self.added:
            sys.path.append(self.folder)
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()  # a module may have been written a moment ago
        return self.folder

    def __exit__(self, *_: object) -> None:
        sys.dont_write_bytecode = self.wrote_none
        if self.added and self.folder in sys.path:
            sys.path.remove(self.folder)
