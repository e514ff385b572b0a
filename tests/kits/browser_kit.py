"""Pages in a real browser: opened offline with every complaint noted, and what can be computed of their look."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

# Texts of the page with their boxes; which of them lie over one another, are cut by their box, or leave the page; and
# legends that reach into the area of their plot.
FAULTS = """() => {
  const faults = [];
  const boxes = [];
  const add = (node, text, rect) => { if (rect.width > 1 && rect.height > 1) boxes.push({ node, text: text.trim().slice(0, 40), rect }); };
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const svg = node.parentElement.closest("svg");
    if (svg && (!node.parentElement.closest("text") || getComputedStyle(node.parentElement).opacity === "0")) continue;
    for (const rect of svg ? [node.parentElement.closest("text").getBoundingClientRect()] : range.getClientRects())
      add(svg ? node.parentElement.closest("text") : node, node.data, rect);
  }
  boxes.sort((a, b) => a.rect.top - b.rect.top);
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j].rect.top < a.rect.bottom - 3; j++) {
      const b = boxes[j];
      const wide = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
      const tall = Math.min(a.rect.bottom, b.rect.bottom) - b.rect.top;
      if (a.node !== b.node && wide > 2 && tall > 3) faults.push(`over one another: ${a.text} | ${b.text}`);
    }
    const inTable = a.node.parentElement && a.node.parentElement.closest(".scroll");
    const outside = a.rect.right > document.documentElement.clientWidth + 1 || a.rect.left < -1;
    if (outside && !inTable) faults.push(`leaves the page: ${a.text}`);
    const svg = a.node.closest && a.node.closest("svg");
    if (svg) {
      const frame = svg.getBoundingClientRect();
      if (a.rect.right > frame.right + 1 || a.rect.left < frame.left - 1 || a.rect.bottom > frame.bottom + 1 || a.rect.top < frame.top - 1)
        faults.push(`cut by its figure: ${a.text}`);
    }
  });
  for (const element of document.querySelectorAll("main *")) {
    if (element.closest("svg, pre, .scroll, .start") || !element.clientWidth) continue;
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline")
      faults.push(`wider than its box: ${element.innerText.slice(0, 40)}`);
  }
  for (const plot of document.querySelectorAll(".plot")) {
    const legend = plot.querySelector(".legend .bg");
    const area = plot.querySelector(".nsewdrag");
    if (!legend || !area) continue;
    const a = legend.getBoundingClientRect(), b = area.getBoundingClientRect();
    if (Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2 && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2)
      faults.push(`legend over its curves: ${plot.id}`);
  }
  return [...new Set(faults)];
}"""
FITS = """width => document.documentElement.scrollWidth <= width
  && (!document.querySelector(".plot") || Number(document.documentElement.dataset.drawn) === width)"""


def started(playwright: Any) -> Any:
    """Chromium of this machine; the test is skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    return playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"])


def opened(browser: Any, path: Path, scheme: str = "light") -> tuple[Any, list[str]]:
    """A page of its own, offline, and the list that its complaints go into."""
    context = browser.new_context(viewport={"width": 1240, "height": 1000}, color_scheme=scheme, offline=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file://", "data:", "blob:"))
            else complaints.append(f"asked for {request.url}")
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_selector("#main > *")
    return page, complaints


def faults_at(page: Any, width: int, scheme: str) -> list[str]:
    """What of the page's text lies over other text, is cut or leaves the page, at this width and in these colours."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_function(FITS, arg=width)  # charts follow the window
    return page.evaluate(FAULTS)
