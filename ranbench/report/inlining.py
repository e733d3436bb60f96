"""A picture as a part of an HTML page: names that are unique in the page, colours that follow its look."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ranbench.report.style import COLOURS, GREY, INK, PALE, TEXTS

_SHADES = {c: f"{kind}{i}" for kind, shades in (("t", TEXTS), ("c", COLOURS)) for i, c in enumerate(shades)}
_NAMED = {"#ffffff": "paper", INK: "ink", GREY: "grey", PALE: "pale", **_SHADES}
_COLOURS = {colour.lower(): f"var(--{name})" for colour, name in _NAMED.items()}
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_HREF = "{http://www.w3.org/1999/xlink}href"


def inlined(svg: str, prefix: str, title: str) -> str:
    """Return matplotlib's SVG as an element for HTML.

    Args:
        svg: the picture, as ``style.svg`` gives it.
        prefix: begins every name inside, which are unique within a picture only.
        title: what the picture is, for those who cannot see it.
    """
    root = ET.fromstring(svg)
    referred = set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", svg))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = dict(_attributes(element.attrib, prefix, referred))
        element.text, element.tail = (element.text or "").strip(), ""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    return ET.tostring(root, encoding="unicode", short_empty_elements=False)


def _attributes(attributes: dict[str, str], prefix: str, referred: set[str]) -> list[tuple[str, str]]:
    found = []
    for key, value in attributes.items():
        if key == "id":
            found += [("id", f"{prefix}-{value}")] if value in referred else []
        elif key == _HREF:
            found.append(("href", f"#{prefix}-{value.removeprefix('#')}"))
        elif key == "style":
            found.append(("style", _COLOUR.sub(lambda match: _COLOURS.get(match[0], match[0]), value)))
        else:
            found.append((key.rpartition("}")[2], " ".join(value.replace("url(#", f"url(#{prefix}-").split())))
    return found
