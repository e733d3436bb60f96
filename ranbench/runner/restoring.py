"""A done run's training as it stood at its end, from the final weights that were kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ranbench.catalogue import is_foreign
from ranbench.environment import choose_device
from ranbench.errors import CheckpointError, NothingMeasured, one_line
from ranbench.records import Attempt, RunRecord
from ranbench.runner.stored import stored_spec
from ranbench.spec import DataSpec
from ranbench.store import Store

if TYPE_CHECKING:
    import torch

    from ranbench.data import Images
    from ranbench.training import Training


def counted_attempt(record: RunRecord) -> Attempt:
    """Return the attempt that counts, whose final weights are those of the run.

    Raises:
        NothingMeasured: there is none.
    """
    if record.counted is None:
        raise NothingMeasured(
            f"run {record.fingerprint[:12]}: has no final weights, it is {record.state}; 'ranbench run SUITE' trains it"
        )
    return record.counted


class Restorer:
    """Builds trainings of done runs again; a dataset is loaded once.

    Args:
        store: where the runs are recorded.
        data: folder of the datasets.
        results: folder of artefacts.
        device: cpu, cuda or auto, which here is the recorded kind of device where this machine has it.
        trust_imports: a net and a dataset that are named by an import path may be imported, which runs their code.
    """

    def __init__(self, store: Store, *, data: Path, results: Path, device: str = "auto", trust_imports: bool = False):
        self.store, self.data, self.results, self.device = store, data, results, device
        self.trust_imports = trust_imports
        self._images: dict[tuple[DataSpec, torch.device], Images] = {}

    def restored(self, record: RunRecord, attempt: Attempt) -> Training:
        """Build the training as it was at its end.

        Raises:
            SpecError: its spec cannot be read by this version, or its net or dataset is not trusted or cannot be made.
            CheckpointError: the final weights are missing, damaged, or of another net.
            DataError, EnvironmentProblem: data, a device or a library is missing.
        """
        from ranbench.models import build
        from ranbench.training import EnginePath, Training, choose_path

        spec, run = stored_spec(record), f"run {record.fingerprint[:12]}"
        name, form, foreign = spec.model.name, spec.data.info.form, is_foreign(spec.model.name)
        weights = self._weights(run, attempt)
        device = choose_device("cpu" if self.device == "auto" and attempt.environment.device == "cpu" else self.device)
        images = self._loaded(spec.data, device)
        path = EnginePath.parse(attempt.environment.engine_path)
        options = spec.model.options
        training = Training(
            build(name, options, images.shape, images.num_classes, form=form, trusted=self.trust_imports),
            images,
            images.train_labels,
            spec.protocol,
            seed=spec.seed,
            device=device,
            path=path.shared(1) if path.possible_on(device) else choose_path("auto", device, foreign=foreign),
            foreign=foreign,
            threads=attempt.environment.threads,
        )
        try:
            training.net.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{run}: its final weights do not fit the net of this version: {one_line(error)}"
            ) from None
        return training

    def _weights(self, run: str, attempt: Attempt) -> dict[str, torch.Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        again = "'ranbench run SUITE --rerun all' trains again"
        if attempt.bundle is not None:
            again = "'ranbench merge' of a bundle that 'ranbench export --weights' wrote brings them"
        kept = [artefact for artefact in self.store.artefacts([attempt.id]) if artefact.kind == "weights"]
        if not kept:
            raise CheckpointError(f"{run}: its final weights were not kept; {again}")
        path = self.results / kept[0].path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"{path}: the final weights of {run} cannot be read: {one_line(error)}; {again}"
            ) from None
        if hashlib.sha256(content).hexdigest() != kept[0].sha256:
            raise CheckpointError(f"{path}: damaged, its content is not that of the final weights of {run}; {again}")
        try:
            return load(content)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: are no weights: {one_line(error)}; {again}") from None

    def _loaded(self, data: DataSpec, device: torch.device) -> Images:
        from ranbench.runner.loading import load_onto

        if (data, device) not in self._images:
            self._images[data, device] = load_onto(data, self.data, device, trusted=self.trust_imports)
        return self._images[data, device]
