"""The document behind HTML and LaTeX: what the template marks up is read, what it prints is only text."""

from __future__ import annotations

from ranbench.report import Report, tables
from ranbench.report.document import Code, Heading, Illustration, Items, Listing, Paragraph, Table, plain
from ranbench.suite import Suite

from .conftest import CLAIM, SUITE, Load, Recorder, runs_of


def document(suite: Suite, recorder: Recorder) -> Report:
    return Report(suite, tables(suite, recorder.records), recorder.series, compare=True)


def test_the_document_has_the_parts_of_the_page_in_its_order(mixed: Suite, recorder: Recorder) -> None:
    blocks = document(mixed, recorder).document

    headings = [plain(block.parts) for block in blocks if isinstance(block, Heading)]
    assert headings == [
        *("A small suite", "Results: test error", "Pictures", "Every run", "Cost", "Deviations", "Environments"),
        "How to repeat it",
    ]
    assert [block.name for block in blocks if isinstance(block, Table)] == [
        *("results-test-error", "every-run", "cost", "environments"),
    ]
    assert [block.picture.file for block in blocks if isinstance(block, Illustration)] == ["curves.png", "seeds.png"]
    assert [block for block in blocks if isinstance(block, Listing)] == [
        Listing(("ranbench run small.yaml", "ranbench report small.yaml --compare"))
    ]


def test_code_and_strong_words_are_told_from_text(mixed: Suite, recorder: Recorder) -> None:
    blocks = document(mixed, recorder).document

    first, checked = blocks[1], blocks[2]
    assert isinstance(first, Paragraph)
    assert isinstance(checked, Items)
    assert first.parts[1] == Code("small")
    assert plain(checked.items[1].parts) == "Fidelity: full; protocol short is the suite's reference."


def test_a_caption_stands_once(mixed: Suite, recorder: Recorder) -> None:
    blocks = document(mixed, recorder).document

    captions = {block.picture.caption for block in blocks if isinstance(block, Illustration)}
    assert captions.isdisjoint(plain(block.parts) for block in blocks if isinstance(block, Paragraph))


def test_values_open_no_block_and_no_markup(hostile: Suite, recorder: Recorder) -> None:
    title = document(hostile, recorder).document[0]

    assert isinstance(title, Heading)
    assert len(title.parts) == 1
    assert plain(title.parts) == r"<script>alert(1)</script>|`x`|_y_ $z$ \input{x} %{}~^& # 100 % 日本 =1+1"


def test_what_stands_below_an_item_is_kept_with_it(load: Load, recorder: Recorder) -> None:
    suite = load(SUITE + CLAIM)
    for learning, level in (("residual", 5.0), ("naive", 9.0)):
        for spec in runs_of(suite, model="attention-56", learning=learning):
            recorder.done(spec, level + spec.seed / 10)
    report = document(suite, recorder)

    items = [item for block in report.document if isinstance(block, Items) for item in block.items]

    (told,) = [item for item in items if plain(item.parts).startswith("✓ helps: Reproduced")]
    assert [plain(below) for below in told.below] == list(report.tables.verdicts[0].lines)
    assert told.below


def test_tables_of_long_titles_are_named_by_their_beginning(load: Load, recorder: Recorder) -> None:
    full, smoke = load(), load(protocol="smoke")
    recorder.done(runs_of(full)[0], 5.0)
    recorder.done(runs_of(smoke)[0], 91.0)

    names = [block.name for block in document(full, recorder).document if isinstance(block, Table)]

    assert names[-2:] == ["other-runs-smoke", "other-runs-smoke-2"]
