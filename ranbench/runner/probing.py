"""Probes of runs: measured of the final weights, when a run is done or later, and recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import num_stages
from ranbench.environment import code_id, describe
from ranbench.errors import CheckpointError, NothingMeasured, SpecError, one_line
from ranbench.records import Environment, Probe, RunRecord
from ranbench.runner.events import Observer, Stop
from ranbench.runner.restoring import Restorer, counted_attempt
from ranbench.runner.stored import stored_spec
from ranbench.spec import RunSpec
from ranbench.store import Store

if TYPE_CHECKING:
    import torch

    from ranbench.training import Training


def probed(kind: str, training: Training, machine: Environment) -> Probe:
    """Measure a training's present net, on its own device and with its own threads of this machine.

    Raises:
        NothingMeasured: a value is not finite.
        SpecError: the net has nothing of the kind.
    """
    import torch

    from ranbench import probes

    measure = {"responses": probes.stage_responses}[kind]
    values = training.inspect(measure)
    threads = training.threads or torch.get_num_threads()
    environment = replace(machine, threads=threads, engine_path=str(training.path))
    code = code_id(Path(probes.__file__))  # the net and its data, and how it was measured
    return Probe(kind, values, code, datetime.now(UTC), environment)


class Prober:
    """Measures runs that are done, from the final weights that were kept.

    Args:
        store: where the runs are recorded, and what is measured of them.
        data: folder of the datasets.
        results: folder of artefacts.
        device: cpu, cuda or auto, which here is the recorded kind of device where this machine has it.
        trust_imports: a dataset that is named by an import path may be imported, which runs its code.
        observer: is told of runs that cannot be measured.
    """

    def __init__(
        self,
        store: Store,
        *,
        data: Path,
        results: Path,
        device: str = "auto",
        trust_imports: bool = False,
        observer: Observer | None = None,
    ):
        self.store, self.observer = store, observer or Observer()
        self.restorer = Restorer(store, data=data, results=results, device=device, trust_imports=trust_imports)
        self._machines: dict[torch.device, Environment] = {}

    def complete(self, specs: Sequence[RunSpec], kinds: Sequence[str], stop: Stop) -> tuple[int, int]:
        """Measure what done runs were closed without, until a stop is asked for.

        Returns:
            How many runs were measured, and how many could not be.

        Raises:
            DataError, EnvironmentProblem, StoreError: as ``measure``; they are not of one run alone.
        """
        records = self.store.runs([spec.fingerprint for spec in specs])
        lacking = [one for one in records if one.counted and any(one.counted.probe(kind) is None for kind in kinds)]
        probed = failed = 0
        for record in lacking:
            if stop.requested:
                break
            try:
                self.measure(record, kinds)
                probed += 1
            except (CheckpointError, NothingMeasured) as error:
                self.observer.note(f"not measured: {one_line(error)}")
                failed += 1
        return probed, failed

    def measure(self, record: RunRecord, kinds: Sequence[str]) -> list[Probe]:
        """Measure what is not recorded yet of the attempt that counts, and record it; return all that was asked for.

        Raises:
            NothingMeasured: no attempt counts, or a value is not finite.
            SpecError: the stages of the net are not known, its spec cannot be read by this version, or its dataset is
                not trusted.
            CheckpointError: the final weights are missing, damaged, or of another net.
            DataError, EnvironmentProblem: data or a device is missing.
            StoreError: the database cannot be used.
        """
        attempt = counted_attempt(record)
        missing = [kind for kind in kinds if attempt.probe(kind) is None]
        if missing:
            _check_stages(record)
            training = self.restorer.restored(record, attempt)
            for kind in missing:
                self.store.record_probe(attempt.id, probed(kind, training, self._machine(training.device)))
            (attempt,) = (again for again in self.store.find(record.fingerprint).attempts if again.id == attempt.id)
        return [probe for kind in kinds if (probe := attempt.probe(kind))]

    def _machine(self, device: torch.device) -> Environment:
        if device not in self._machines:
            self._machines[device] = describe(device, 0, "")
        return self._machines[device]


def _check_stages(record: RunRecord) -> None:
    spec = stored_spec(record)
    name = spec.model.name
    if num_stages(name, spec.data.info.form) is None:
        raise SpecError(
            f"run {record.fingerprint[:12]}: the stages of {name!r} are not known, so nothing can be measured of them"
        )
