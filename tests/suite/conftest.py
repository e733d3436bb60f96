from __future__ import annotations

import dataclasses

import pytest

from ranbench import catalogue


@pytest.fixture
def trainable_imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let suites train on ImageNet, as they will once there is a loader for it."""
    known = {**catalogue.DATASETS, "imagenet": dataclasses.replace(catalogue.DATASETS["imagenet"], trainable=True)}
    monkeypatch.setattr(catalogue, "DATASETS", known)
