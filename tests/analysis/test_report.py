"""The report in a real browser, and the tables and figures beside it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.audit import AuditSettings, audit
from analysis.compare import compare
from analysis.readers import align, load
from analysis.records import write_samples
from analysis.report import write, write_comparison
from analysis.report.comparison import comparison_page
from analysis.tables import Table

SETTINGS = AuditSettings(replicates=200, maj_repeats=20)
N = 16
EXAMPLE = Path(__file__).parents[2] / "examples" / "simplerl_math500.csv"


def rows(model, rates, seed, benchmarks=("aime24", "math500")):
    rng = np.random.default_rng(seed)
    out = []
    for i, p in enumerate(rates):
        for s in range(N):
            correct = bool(rng.random() < p)
            answer = "7" if correct else str(rng.integers(0, 4))
            text = (
                f"<img src=x onerror=alert(1)> problem {i}, draw {s} of {model} </script><b>bold</b> "
                f"\\boxed{{{answer}}}"
            )
            out.append(
                {
                    "problem_id": f"p{i}",
                    "benchmark": benchmarks[i % len(benchmarks)],
                    "sample": s,
                    "correct": correct,
                    "answer": answer,
                    "mode": answer,
                    "completion": text,
                    "logprob": -float(rng.random() * 30),
                    "num_tokens": int(rng.integers(20, 60)),
                    "token_entropy": float(rng.random()),
                    "model": model,
                    "temperature": 0.6,
                }
            )
    return out


BASE = [0.0, 0.0, 0.9, 0.7, 0.5, 0.5, 0.4, 0.3, 1.0, 0.0, 0.6, 0.5]
TUNED = [1.0, 0.0, 0.0, 0.8, 0.6, 0.7, 0.5, 0.5, 1.0, 0.6, 0.7, 0.6]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    for name, rates, seed in (("base", BASE, 1), ("tuned", TUNED, 2)):
        write_samples(folder / f"{name}.parquet", rows(name, rates, seed))
    return align(load([str(folder / "base.parquet")]), load([str(folder / "tuned.parquet")]))


@pytest.fixture(scope="module")
def report(pair, tmp_path_factory):
    base, tuned, warnings = pair
    folder = tmp_path_factory.mktemp("report")
    document = audit(base, tuned, settings=SETTINGS, warnings=[*warnings, "a line of warning"])
    write(document, base, tuned, folder)
    return folder, document


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


def opened(browser, path, scheme="light"):
    """A page of its own, offline, and the list that its complaints go into."""
    context = browser.new_context(viewport={"width": 1240, "height": 1000}, color_scheme=scheme, offline=True)
    page = context.new_page()
    complaints = []
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
    page.wait_for_selector("#main section")
    return page, complaints


FIGURES = [
    "pass-at-k",
    "difference",
    "tokens",
    "flow",
    "null",
    "scatter",
    "ladder",
    "entropy",
    "distinct",
    "perplexity",
    "advice",
]


def drawn(page, name):
    """Marks in a figure: paths and points inside its plot, none if it is empty."""
    return page.evaluate(
        """name => { const figure = document.getElementById("figure-" + name);
                     const marks = ".main-svg .scatterlayer path, .main-svg .barlayer path, .main-svg .sankey path";
                     return figure ? figure.querySelectorAll(marks).length : -1 }""",
        name,
    )


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_from_disk_with_every_figure_and_without_complaint(browser, report, scheme):
    folder, document = report
    page, complaints = opened(browser, folder / "report.html", scheme)
    verdict = document["benchmarks"]["all"]["verdict"]
    assert page.locator("#verdict .word").inner_text().lower() == f"{verdict} within 16 draws"
    assert f"tone-{verdict}" in (page.locator("#verdict").get_attribute("class") or "").split()
    assert page.locator("main > *").first.get_attribute("id") == "verdict"  # before anything else
    assert document["benchmarks"]["all"]["evidence"] in page.locator("#verdict").inner_text()
    assert "a line of warning" in page.locator(".warnings").inner_text()
    for button in page.locator("#benchmarks button").all():
        button.click()
        assert {name: drawn(page, name) for name in FIGURES if drawn(page, name) < 1} == {}
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    ink = "document.querySelector('#figure-pass-at-k .xtick text').style.fill"
    before = page.evaluate(ink)
    page.locator("#theme").click()
    page.wait_for_function(f"before => {ink} !== before", arg=before)  # charts change with the theme
    assert complaints == []


@pytest.mark.browser
def test_the_category_filter_shows_the_problems_of_a_category_and_their_completions(browser, report):
    folder, document = report
    page, complaints = opened(browser, folder / "report.html")
    details = document["problems_detail"]
    shown = page.locator("#problem-list .problem")
    assert shown.count() == len(details)
    for category in ("shrunk", "expanded", "preserved", "out"):
        expected = sorted(row["problem_id"] for row in details if row["category"] == category)
        assert expected, "the example should have every category"
        page.locator(f'[data-filter="{category}"]').click()
        assert (
            sorted(page.eval_on_selector_all("#problem-list .problem", "rows => rows.map(r => r.dataset.id)"))
            == expected
        )
    page.locator('[data-filter="flip"]').click()
    flips = [row["problem_id"] for row in details if row["suspicious_flip"]]
    assert (
        flips == ["p0"]
        and page.eval_on_selector_all("#problem-list .problem", "rows => rows.map(r => r.dataset.id)") == flips
    )
    shown.first.locator("summary").click()
    reading = shown.first.locator(".reading")
    reading.wait_for()
    text = reading.inner_text()
    assert "problem 0, draw" in text and "</script><b>bold</b>" in text  # shown as it is, not run
    assert (
        reading.locator(".completion").count() == 2 + 2
    )  # the base has only wrong ones, the tuned model only correct ones
    page.locator('[data-filter="all"]').click()
    page.locator(".filters input").fill("p11")
    assert shown.count() == 1
    page.locator("#benchmarks button", has_text="aime24").click()
    assert page.locator("#problem-list .problem").count() == sum(row["benchmark"] == "aime24" for row in details)
    assert complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_card_says_what_its_words_rest_on_and_nothing_leaves_the_page(browser, report, width):
    folder, document = report
    page, complaints = opened(browser, folder / "report.html")
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)  # charts follow
    terms = page.locator("#verdict .terms").inner_text()
    assert "16 of the base model" in terms and f"{document['benchmarks']['all']['certified']['eps']:.3g}" in terms
    assert "one model drawn twice" in terms
    cut = """() => [...document.querySelectorAll("#verdict *, .tile *")]
        .filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"""
    assert page.evaluate(cut) == []
    overprinted = """() => { const boxes = [...document.querySelectorAll("#figure-flow .node-label")]
        .map(e => e.getBoundingClientRect());
      const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      return [boxes.length, boxes.filter((a, i) => boxes.some((b, j) => j < i && meet(a, b))).length]; }"""
    page.wait_for_selector("#figure-flow .node-label")
    assert page.evaluate(overprinted) == [4, 0]
    assert complaints == []


@pytest.mark.browser
def test_it_prints(browser, report, tmp_path):
    page, complaints = opened(browser, report[0] / "report.html", "dark")
    page.emulate_media(media="print")
    assert not page.locator("#theme").is_visible() and not page.locator(".filters").is_visible()
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes()[:4] == b"%PDF" and complaints == []


def exact_section():
    """The laboratory's figures, as `docs/analysis.md` describes them."""
    ladder = [
        {
            "eps": eps,
            "preserved": 9,
            "shrunk": i,
            "expanded": 2 * i,
            "out": 1,
            "srr": 0.9,
            "ndr": 0.1,
            "sds": 0.18,
            "nscr": 0.0,
        }
        for i, eps in enumerate((0.0625, 0.003))
    ]
    runs = [
        {
            "method": method,
            "seed": seed,
            "pass@1": 0.2,
            "mode_srr": 0.9,
            "mass_sum": 0.1,
            "mass_division": 1e-6 * (seed or 1),
            "support": {"mode": ladder},
            "pass_at_k": {"1": 0.2, "16": 0.5, "256": 0.7},
        }
        for method, seed in (("base", None), ("base at T=1.5", None), ("grpo", 0), ("grpo", 1))
    ]
    rows = []
    for method in ("base", "base at T=1.5", "grpo"):
        mine = [run for run in runs if run["method"] == method]
        spread = lambda key, mine=mine: {
            "mean": float(np.mean([r[key] for r in mine])),
            "low": min(r[key] for r in mine),
            "high": max(r[key] for r in mine),
        }  # noqa: E731
        rows.append(
            {"method": method, "runs": len(mine)}
            | {key: spread(key) for key in ("pass@1", "mode_srr", "mass_sum", "mass_division")}
        )
    training = [
        {"method": "grpo", "seed": seed, "steps": [{"step": step, "support": {"mode": ladder}} for step in (0, 10)]}
        for seed in (0, 1)
    ]
    return {"rows": rows, "runs": runs, "training": training, "settings": {"eps": 0.003}}


@pytest.mark.browser
def test_a_comparison_shows_methods_pairs_and_exact_figures(browser, pair, tmp_path):
    base, tuned, _ = pair
    document = compare(base, {"grpo": [tuned, base], "mixture": [tuned]}, settings=SETTINGS)
    write_comparison(document | {"exact": exact_section()}, tmp_path)
    page, complaints = opened(browser, tmp_path / "report.html")
    text = page.locator("main").inner_text()
    assert "mixture − grpo" in text and "Exact figures" in text and "base at T=1.5" in text
    names = [
        "exact-pass-at-k",
        "exact-masses",
        "exact-shrunk",
        "exact-expanded",
        "steps-shrunk",
        "steps-expanded",
        "pass-at-k",
        "lost-gained",
    ]
    assert {name: drawn(page, name) for name in names if drawn(page, name) < 1} == {}
    assert complaints == []
    kept = json.loads((tmp_path / "compare.json").read_text())
    assert kept["exact"]["rows"][2]["runs"] == 2
    table = list(csv.DictReader((tmp_path / "tables" / "runs.csv").open()))
    assert len(table) == 3 * 3 and {row["benchmark"] for row in table} == {"aime24", "math500", "all"}
    assert (tmp_path / "figures" / "exact_pass_at_k.svg").exists() and (tmp_path / "tables" / "exact.tex").exists()


def test_many_methods_have_colours_of_their_own_and_stand_best_first(tmp_path):
    rng = np.random.default_rng(0)
    sides = {}
    for i, rate in enumerate([0.3, *np.linspace(0.1, 0.6, 9)]):
        path = tmp_path / f"m{i}.csv"
        counts = [f"p{j},4,{c}" for j, c in enumerate(rng.binomial(4, rate, size=5))]
        path.write_text("problem_id,n,correct\n" + "\n".join(counts) + "\n")
        sides[f"m{i}"] = load([str(path)])
    base = sides.pop("m0")
    document = compare(
        base, {name: [run] for name, run in sides.items()}, settings=AuditSettings(replicates=100, k=(1,))
    )
    tiles = comparison_page(document)["pages"][0]["tiles"]
    assert len({tile["colour"] for tile in tiles}) == len(tiles) == 9
    gains = [list(document["methods"][tile["label"]]["against_base"]["all"].values())[-1]["value"] for tile in tiles]
    assert gains == sorted(gains, reverse=True)
    css = (Path(__file__).parents[2] / "analysis" / "report" / "page.css").read_text()
    for theme in css.split("color-scheme")[:2]:
        found = re.findall(r"--m\d+: (#[0-9a-f]{6})", theme)
        assert len(found) == len(set(found)) == 20


def test_tables_hold_the_documents_numbers_in_three_formats(report):
    folder, document = report
    support = {row["benchmark"]: row for row in csv.DictReader((folder / "tables" / "support.csv").open())}
    for name, block in document["benchmarks"].items():
        assert [int(support[name][c]) for c in "PSEO"] == [
            block["support"][c] for c in ("preserved", "shrunk", "expanded", "out")
        ]
        assert (
            float(support[name]["p(S)"]) == block["null"]["p_shrunk"] and support[name]["verdict"] == block["verdict"]
        )
    curve = {(row["benchmark"], row["k"]): row for row in csv.DictReader((folder / "tables" / "pass_at_k.csv").open())}
    assert float(curve["all", "16"]["tuned_low"]) == document["benchmarks"]["all"]["pass_at_k"]["tuned"]["16"]["low"]
    value = document["benchmarks"]["aime24"]["pass_at_k"]["base"]["1"]
    text = f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    assert (
        text in (folder / "tables" / "pass_at_k.md").read_text()
        and text in (folder / "tables" / "pass_at_k.tex").read_text()
    )
    problems = list(csv.DictReader((folder / "tables" / "problems.csv").open()))
    assert [row["problem_id"] for row in problems] == [row["problem_id"] for row in document["problems_detail"]]
    assert json.loads((folder / "audit.json").read_text()) == document


def test_the_documentation_names_every_key(report):
    text = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text()
    _, document = report
    keys = {
        *document,
        *document["benchmarks"]["all"],
        *document["benchmarks"]["all"]["support"],
        *document["benchmarks"]["all"]["null"],
        *document["benchmarks"]["all"]["metrics"],
    }
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_latex_is_escaped_and_nothing_reads_as_zero():
    table = Table(
        "t",
        "50 % of A & B_1",
        ["name", "x", "x_low", "x_high"],
        [
            ["a_b & 5%", 0.5, 0.25, None],
            ["none", None, None, None],
            ["tiny", 1e-7, None, None],
            ["less", -0.5, -0.75, -0.25],
        ],
    )
    latex = table.latex()
    assert (
        r"a\_b \& 5\% & 0.500 [0.250, $\infty$] \\" in latex
        and r"50 \% of A \& B\_1" in latex
        and r"none &  \\" in latex
        and "1e$-$07" not in latex
    )
    assert r"less & $-$0.500 [$-$0.750, $-$0.250] \\" in latex
    assert table.csv().splitlines()[2] == "none,,," and table.csv().splitlines()[3].startswith("tiny,1e-07")
    assert "| none |  |" in table.markdown()


def test_figures_are_of_paper_size(report):
    folder, _ = report
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {
        f"{name}.{ending}"
        for name in ("pass_at_k", "pass_at_k_aime24", "support", "scatter", "certified", "entropy")
        for ending in ("svg", "png")
    } <= names
    for path in (folder / "figures").glob("*.svg"):
        width = float(re.search(r'<svg [^>]*width="([\d.]+)pt"', path.read_text())[1]) / 72
        assert 2.6 < width < 3.6  # one column of a two-column page


def test_counts_alone_make_a_report_and_nothing_half_written_stays(tmp_path):
    base, tuned, warnings = align(*(load([f"{EXAMPLE}::{side}"]) for side in ("base", "simplerl")))
    document = audit(base, tuned, settings=SETTINGS, warnings=warnings)
    written = write(document, base, tuned, tmp_path)
    page = (tmp_path / "report.html").read_text()
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data["problems"][0]["id"] == "242" and data["problems"][0]["flip"]  # 0 to 126 of 128: to be read first
    assert {s["id"] for s in data["pages"][0]["sections"]} >= {"curves", "support", "per-problem", "metrics"} and data[
        "completions"
    ] == {}
    assert not [s for s in data["pages"][0]["sections"] if s["id"] == "entropy"]  # counts cannot give it
    assert all(path.exists() for path in written) and not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("rates", [([0.5], [0.5]), ([1.0] * 3, [1.0] * 3), ([0.0] * 3, [0.0] * 3), ([0.0], [1.0])])
def test_extreme_inputs_still_make_a_report(tmp_path, rates):
    sides = []
    for name, p, seed in zip(("base", "tuned"), rates, (1, 2), strict=True):
        write_samples(tmp_path / f"{name}.parquet", rows(name, p, seed, ("one",)))
        sides.append(load([str(tmp_path / f"{name}.parquet")]))
    base, tuned, warnings = align(*sides)
    write(audit(base, tuned, settings=SETTINGS, warnings=warnings), base, tuned, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size > 1_000_000


def test_a_single_draw_a_problem_still_makes_a_report(tmp_path):
    for name, correct in (("base", "0"), ("tuned", "1")):
        (tmp_path / f"{name}.csv").write_text(f"problem_id,n,correct\na,1,{correct}\nb,1,1\n")
    base, tuned, warnings = align(load([str(tmp_path / "base.csv")]), load([str(tmp_path / "tuned.csv")]))
    write(audit(base, tuned, settings=SETTINGS, warnings=warnings), base, tuned, tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "support.tex").exists()


def test_analysis_needs_none_of_the_training_packages():
    code = """
import pkgutil, importlib, sys, analysis
for module in pkgutil.walk_packages(analysis.__path__, "analysis."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
heavy = {"torch", "ray", "vllm", "deepspeed", "transformers", "explore_rl"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
