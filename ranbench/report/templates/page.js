"use strict";

// Light or dark: as the system says until the button is pressed.
{
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    label();
  });
  system.addEventListener("change", label);
  button.hidden = false;
  label();
}

// Tables sort by a column: up, down, as they were. What is no number, and what is missing, stands last.
{
  const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const number = (text) => {
    const found = text.replace(/[,\s]/g, "").replace("−", "-").match(/^[^\d-]?([+-]?\d+(?:\.\d+)?)(?:×10([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?([GM]?)/);
    if (!found) return NaN;
    const exponent = [...(found[2] || "")].map((sign) => superscripts.indexOf(sign)).join("");
    const unit = { G: 1e9, M: 1e6 }[found[3]] || 1;
    return Number(found[1]) * 10 ** Number(exponent) * unit;
  };
  // Columns on the right hold numbers with words behind them, others words; a name of a run or of code is never a number.
  const whole = /^[+−-]?\d[\d,]*(\.\d+)?$/;
  const key = (row, index) => {
    const cell = row.cells[index].cloneNode(true);
    cell.querySelectorAll("sup").forEach((note) => note.remove());
    const text = cell.textContent.trim();
    const counts = !cell.querySelector("code") && (cell.classList.contains("right") || whole.test(text));
    return { text, number: counts ? number(text) : NaN };
  };
  const compare = (a, b, sign) => {
    const missing = (a.text === "–") - (b.text === "–");
    if (missing) return missing;
    const [x, y] = [a.number, b.number];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (Number.isNaN(x) ? a.text.localeCompare(b.text, "en", { numeric: true }) : x - y);
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    if (original.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
        const order = next === undefined ? "ascending" : next;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (order) head.setAttribute("aria-sort", order);
        const keyed = original.map((row) => [key(row, index), row]);
        if (order) keyed.sort((a, b) => compare(a[0], b[0], order === "ascending" ? 1 : -1));
        body.append(...keyed.map((pair) => pair[1]));
      });
    });
  }
}
