"""The HTML page: complete in itself, deterministic, and no value in it is markup; opened in a browser where one is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from ranbench.report import Report, tables, write
from ranbench.suite import Suite

from .browser import Page, browser
from .conftest import CLAIM, SUITE, Load, Recorder, runs_of

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Elements(HTMLParser):
    """Collects elements with their attributes, and checks that they are closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def html(suite: Suite, recorder: Recorder, out: Path) -> Path:
    (path,) = write(Report(suite, tables(suite, recorder.records), recorder.series, compare=True), out, ["html"])
    return path


def test_one_file_holds_all_and_asks_for_nothing(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    path = html(mixed, recorder, tmp_path / "out")

    found = Elements(path.read_text(encoding="utf-8"))
    assert list((tmp_path / "out").rglob("*")) == [path]
    assert found.all("link", "img", "iframe", "object", "base", "form") == []
    assert [attributes for attributes in found.all("script") if attributes] == []
    targets = {a["href"] for a in found.all("a", "use")}
    assert {target for target in targets if not (target or "").startswith("#")} == set()
    (policy,) = [a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'; "
        r"base-uri 'none'; form-action 'none'",
        policy or "",
    )


def test_names_are_unique_and_every_link_leads_to_one(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    found = Elements(html(mixed, recorder, tmp_path).read_text(encoding="utf-8"))

    names = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    links = {(attributes["href"] or "").removeprefix("#") for attributes in found.all("a", "use")}
    clips = set(re.findall(r"url\(#([^)]*)\)", str(found.found)))
    assert len(names) == len(set(names))
    assert links | clips <= set(names)
    assert "cell-1" in links


def test_headings_are_in_order_and_tables_have_captions_and_scopes(
    mixed: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    found = Elements(html(mixed, recorder, tmp_path).read_text(encoding="utf-8"))

    levels = [int(tag[1]) for tag, _ in found.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert max(after - before for before, after in pairwise(levels)) <= 1
    assert len(found.all("caption")) == len(found.all("table")) == 4
    assert {attributes.get("scope") for attributes in found.all("th")} == {"col", "row"}
    assert all(attributes["aria-label"] for attributes in found.all("svg"))


def test_equal_records_give_equal_pages_without_a_date(mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    first = html(mixed, recorder, tmp_path / "a").read_bytes()

    assert html(mixed, recorder, tmp_path / "b").read_bytes() == first
    assert b"2026" not in first


def test_no_value_becomes_markup(hostile: Suite, recorder: Recorder, tmp_path: Path) -> None:
    text = html(hostile, recorder, tmp_path).read_text(encoding="utf-8")

    found = Elements(text)
    assert len(found.all("script")) == 1
    assert len(found.all("style")) == 1
    assert found.all("b", "i", "img") == []
    assert [a for _, a in found.found if any(key.startswith("on") for key in a)] == []
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt;|`x`|_y_ $z$" in text


def test_a_number_leads_to_its_runs_and_a_verdict_has_its_mark(load: Load, recorder: Recorder, tmp_path: Path) -> None:
    cell = "{model: attention-56, learning: residual}"
    value = f"  - {{id: near, kind: value, cell: {cell}, metric: error_pct, margin: 1.0}}\n"
    suite = load(SUITE + CLAIM + value)
    for spec in runs_of(suite, model="attention-56", learning="residual"):
        recorder.done(spec, 5.5 + spec.seed / 10)

    text = html(suite, recorder, tmp_path).read_text(encoding="utf-8")

    assert '<td class="right"><a href="#cell-1">5.60 ± 0.25</a></td>' in text
    assert '<td><span class="mark reproduced">✓</span> reproduced</td>' in text
    assert '<th scope="row" id="cell-1">attention-56, residual</th>' in text


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A browser."""
    with browser() as page:
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_a_browser_shows_it_without_complaint_or_request(
    page: Page, hostile: Suite, recorder: Recorder, tmp_path: Path, *, width: int, dark: bool
) -> None:
    file = html(hostile, recorder, tmp_path)
    page.requests.clear()
    page.complaints.clear()
    page.look(width=width, dark=dark)

    page.open(file)

    assert page.complaints == []
    assert [url for url in page.requests if url != file.as_uri()] == []
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(CONTRAST) == []


# Text whose contrast to the page is under 4.5 (WCAG 2 AA), by the luminance of its colour, also in pictures.
CONTRAST = """
(() => {
  const light = (colour) => {
    const part = colour.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const ink = (one) => one.closest("svg") ? getComputedStyle(one).fill : getComputedStyle(one).color;
  return [...document.querySelectorAll("body *:not(script)")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((one) => [one, [light(ink(one)), light(behind(one))].sort((a, b) => b - a)])
    .filter(([, [high, low]]) => (high + 0.05) / (low + 0.05) < 4.5)
    .map(([one]) => one.outerHTML.slice(0, 80));
})()
"""


def column(page: Page, table: str, index: int) -> list[str]:
    cells = f"[...document.querySelectorAll('#table-{table} tbody tr')].map(r => r.cells[{index}].textContent)"
    return list(page.run(cells))


def test_a_column_sorts_up_down_and_back(page: Page, mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    page.open(html(mixed, recorder, tmp_path))
    before = column(page, "every-run", 3)
    button = "document.querySelectorAll('#table-every-run thead button')[3]"

    page.run(f"{button}.click()")
    state = page.run(f"{button}.parentElement.getAttribute('aria-sort')")
    up = column(page, "every-run", 3)
    page.run(f"{button}.click()")
    down = column(page, "every-run", 3)
    page.run(f"{button}.click()")

    assert state == "ascending"
    assert up[:5] == ["5.00", "5.50", "6.00", "7.00", "–"]
    assert down[:5] == ["7.00", "6.00", "5.50", "5.00", "–"]
    assert column(page, "every-run", 3) == before


def test_numbers_in_names_are_sorted_as_numbers_and_names_of_runs_as_names(
    page: Page, load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    suite = load(SUITE.replace("attention-92", "attention-164"))
    recorder.done(runs_of(suite)[0], 5.0)
    page.open(html(suite, recorder, tmp_path))
    button = "document.querySelectorAll('#table-every-run thead button')[{}]"

    page.run(f"{button.format(0)}.click(); {button.format(0)}.click()")
    cells = column(page, "every-run", 0)
    runs = len(page.run("[...document.querySelectorAll('#table-every-run thead th')].map(h => h.textContent)")) - 1
    page.run(f"{button.format(runs)}.click()")

    assert [cells[0].split(",")[0], cells[-1].split(",")[0]] == ["attention-164", "attention-56"]
    assert column(page, "every-run", runs) == sorted(column(page, "every-run", runs), key=natural)


def natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def test_no_table_is_cut_off_on_a_wide_screen(page: Page, load: Load, recorder: Recorder, tmp_path: Path) -> None:
    suite = load(SUITE + CLAIM)
    for learning, level in (("residual", 5.0), ("naive", 9.0)):
        for spec in runs_of(suite, learning=learning):
            recorder.done(spec, level + spec.seed / 10)
    others = {"of-somebody-else.zip": recorder.records[:2]}
    built = tables(suite, recorder.records, against=others)
    (path,) = write(Report(suite, built, recorder.series, compare=True), tmp_path, ["html"])
    page.look(width=1600, dark=False)
    page.open(path)

    wide = "[...document.querySelectorAll('.scroll')].filter(b => b.scrollWidth > b.clientWidth)"

    assert page.run(f"{wide}.map(b => b.getAttribute('aria-label'))") == []


def test_the_button_of_the_look_stays_on_one_line_on_a_phone(
    page: Page, load: Load, recorder: Recorder, tmp_path: Path
) -> None:
    page.look(width=400, dark=False)
    page.open(html(load(SUITE.replace("A small suite", "A suite with a title of many words " * 4)), recorder, tmp_path))

    height, line = page.run(
        "(b => [b.clientHeight, parseFloat(getComputedStyle(b).fontSize)])(document.getElementById('theme'))"
    )

    assert height < 2.5 * line


def test_the_keyboard_reaches_all_in_order_and_the_look_changes(
    page: Page, mixed: Suite, recorder: Recorder, tmp_path: Path
) -> None:
    page.look(width=1600, dark=False)
    page.open(html(mixed, recorder, tmp_path))
    focused = []

    for _ in range(4):
        page.press("Tab", 9)
        focused.append(page.run("document.activeElement.textContent"))
        if focused[-1] == "Dark":
            assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.press("Enter", 13, "\r")

    assert focused == ["Skip to the report", "Dark", "Results: test error", "Pictures"]
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"


def test_without_its_script_the_page_is_whole(page: Page, mixed: Suite, recorder: Recorder, tmp_path: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(html(mixed, recorder, tmp_path))
        shown = page.call("Page.captureScreenshot", format="png")["data"]
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)

    assert len(shown) > 10_000
    assert page.run("document.querySelectorAll('thead button').length") == 0
    assert page.run("document.getElementById('theme').hidden") is True
