"""The identity of the code that makes a run's numbers, the files of a user's own net and dataset with it."""

from __future__ import annotations

from ranbench.environment import code_id
from ranbench.factories import factory_file
from ranbench.spec import DataSpec, ModelSpec


def code_of_net(model: ModelSpec) -> str:
    """Return the code_id of a net's counts, which no dataset's factory changes; a user's net must be trusted.

    Raises:
        SpecError: a user's module cannot be imported, or has no file.
        EnvironmentProblem: its file cannot be read.
    """
    return code_id(factory_file("model", model.factory) if model.factory else None)


def code_of_run(model: ModelSpec, data: DataSpec) -> str:
    """Return the code_id of a net that is trained on a dataset; a user's own of either must be trusted.

    Raises:
        SpecError, EnvironmentProblem: as ``code_of_net``.
    """
    net = factory_file("model", model.factory) if model.factory else None
    return code_id(net, factory_file("dataset", data.factory) if data.factory else None)
