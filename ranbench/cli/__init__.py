"""The command line: thin commands over the library, imported lazily; the only part that prints.

One error boundary: a RanbenchError is one line on stderr and its exit code, anything else a bug with its traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from ranbench import __version__
from ranbench.cli import (
    bench,
    bundles,
    claims,
    complexity,
    data,
    db,
    doctor,
    gate,
    history,
    masks,
    reports,
    rerun,
    response,
    results,
    run,
    status,
    suites,
)
from ranbench.cli.options import Data, Db
from ranbench.cli.output import note
from ranbench.errors import RanbenchError
from ranbench.masking import mask

app = typer.Typer(
    name="ranbench",
    help="Trains every cell of a paper's table, keeps what it measured, and says which claims hold.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ranbench {__version__}")
        raise typer.Exit


@app.callback()
def before(
    context: typer.Context,
    db: Db = None,
    data: Data = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take global options before the command."""
    context.obj = {"db": db, "data": data}


# In the order of work.
_COMMANDS: dict[str, Callable[..., None]] = {
    "list": suites.list_,
    "validate": suites.validate,
    "schema": suites.schema,
    "plan": run.plan,
    "run": run.run,
    "status": status.status,
    "runs": results.runs,
    "show": results.show,
    "rerun": rerun.rerun,
    "response": response.response,
    "masks": masks.masks,
    "report": reports.report,
    "claims": claims.claims,
    "power": claims.power,
    "check": gate.check,
    "history": history.history,
    "export": bundles.export,
    "merge": bundles.merge,
    "complexity": complexity.complexity,
    "bench": bench.bench,
    "doctor": doctor.doctor,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
app.add_typer(suites.new, name="new")
app.add_typer(gate.baseline, name="baseline")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")

# Typer brings its own copy of click; the base of its usage errors is found without naming either.
_ClickError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _unread() -> int:
    """Leave quietly when the reader of our output went away, for instance 'head'."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def main() -> None:
    """Run the command line and exit with the code of DESIGN.md's table."""
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except RanbenchError as error:
        note(mask(str(error)))
        code = error.exit_code
    except _ClickError as error:
        note(mask(f"{getattr(error, 'format_message', error.__str__)()} (see 'ranbench --help')"))
        code = 2
    except (KeyboardInterrupt, typer.Abort):  # of older versions of Typer; newer ones return the code
        code = 130
    except BrokenPipeError:
        code = _unread()
    except SystemExit as stop:  # Typer's own answer to a closed pipe is exit code 1, which would look like a bug
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        code = _unread()
    except Exception:
        sys.stderr.write(mask(traceback.format_exc()))
        note("this is a bug; please report it with the lines above")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
