"""A suite that trains nothing: its nets are built without memory and counted, and the counts are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ranbench.counts import lookup
from ranbench.errors import EnvironmentProblem
from ranbench.records import Complexity
from ranbench.runner.code import code_of_net
from ranbench.runner.events import Observer, Summary
from ranbench.spec import complexity_key
from ranbench.store import Store
from ranbench.suite import Suite


def count_nets(
    suite: Suite, store: Store, only: Mapping[str, str], *, trust_imports: bool, observer: Observer
) -> Summary:
    """Count the nets of the suite's cells anew and record their sizes.

    A net whose library is not installed here is told and left out; reports fall back on its stored count, where there
    is one.

    Raises:
        SpecError: a net cannot be built, is not trusted, or does not fit its images; nothing was recorded.
        StoreError: the database cannot be used.
        UsageError: ``only`` names no cell.
    """
    from ranbench.complexity import measure_named
    from ranbench.complexity.ledger import Memo

    cells = suite.select(only)
    sizes: dict[str, Complexity] = {}
    shared: Memo = {}  # parts that our nets have in common are counted once
    missing = without_count = 0
    for cell in cells:
        key = complexity_key(cell.model, cell.data)
        try:
            size = measure_named(cell.model, cell.data, trusted=trust_imports, memo=shared)
            sizes[key] = replace(size, code_id=code_of_net(cell.model))
        except EnvironmentProblem as problem:
            stored = lookup(cell.model, cell.data) or store.complexity(key)
            missing += 1
            without_count += not stored
            instead = "a stored count stands for it" if stored else "no count of it is stored"
            observer.note(f"'{suite.label(cell)}' is not counted here, and {instead}: {problem}")
    store.record_suite(suite.name, suite.title, suite.text, suite.sha256, [], suite.protocol_texts)
    for key, size in sizes.items():
        store.record_complexity(key, size)
    return Summary(0, 0, 0, 0, 0, 0, counted=len(cells) - missing, without_count=without_count)
