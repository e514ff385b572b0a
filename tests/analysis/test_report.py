"""The report's data, and the tables and figures beside it; tests/analysis/test_pages.py opens it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from report_kit import SETTINGS, rows

from analysis.audit import AuditSettings, audit
from analysis.compare import compare
from analysis.readers import align, load
from analysis.records import write_samples
from analysis.report import write
from analysis.report.comparison import comparison_page
from analysis.report.page import audit_page
from analysis.tables import Table

EXAMPLE = Path(__file__).parents[2] / "examples" / "simplerl_math500.csv"


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
    page = comparison_page(document)["pages"][0]
    tiles = page["tiles"]
    assert len({tile["colour"] for tile in tiles}) == len(tiles) == 9
    charts = {part["id"]: part for shown in page["sections"] for part in shown["parts"] if "spec" in part}
    legends = [trace.get("showlegend", True) for trace in charts["lost-gained"]["spec"]["data"]]
    assert legends == [False] * 9 + [True]  # those of the curves beside it are enough
    assert charts["forest"]["spec"]["layout"]["yaxis"]["ticktext"] == [tile["label"] for tile in tiles]
    gains = [list(document["methods"][tile["label"]]["against_base"]["all"].values())[-1]["value"] for tile in tiles]
    assert gains == sorted(gains, reverse=True)
    css = (Path(__file__).parents[2] / "analysis" / "report" / "page.css").read_text()
    for theme in css.split("color-scheme")[:2]:
        found = re.findall(r"--m\d+: (#[0-9a-f]{6})", theme)
        assert len(found) == len(set(found)) == 20


def test_long_names_stay_in_the_heading_and_sides_are_called_by_role(report):
    document = json.loads(json.dumps(report[1]))
    long = {
        document["models"][side]["name"]: f"runs/a-rather-long-name-of-the-{side}-model" for side in ("base", "tuned")
    }
    for side in ("base", "tuned"):
        document["models"][side]["name"] = long[document["models"][side]["name"]]
    for block in document["benchmarks"].values():
        for row in block["perplexity"]["rows"]:
            row["written_by"] = long[row["written_by"]]
    page = audit_page(document, None, tuned=None)
    assert page["labels"] == {"base": "base", "tuned": "tuned"} and "long-name" in page["names"]["tuned"]
    assert "long-name" not in json.dumps([shown["sections"] for shown in page["pages"]])
    charts = {part["id"]: part for s in page["pages"][0]["sections"] for part in s["parts"] if "spec" in part}
    labels = charts["perplexity"]["spec"]["layout"]["yaxis"]["ticktext"]
    assert "preserved, by tuned, correct" in labels and len(labels) == len(set(labels))


def test_perplexities_at_two_temperatures_are_two_rows(report):
    document = json.loads(json.dumps(report[1]))
    rows_ = document["benchmarks"]["all"]["perplexity"]["rows"]
    hot = {**rows_[0], "temperature": 1.3, "value": 9.0, "low": 8.0, "high": 10.0}
    rows_.append(hot)
    page = audit_page(document, None, tuned=None)
    charts = {part["id"]: part for s in page["pages"][0]["sections"] for part in s["parts"] if "spec" in part}
    labels = charts["perplexity"]["spec"]["layout"]["yaxis"]["ticktext"]
    assert sum("T 1.3" in label for label in labels) == 1 and any("T 0.6" in label for label in labels)


def test_p_values_by_benchmark_are_those_after_holm(report):
    document = report[1]
    page = audit_page(document, None, tuned=None)["pages"][0]
    (table,) = next(s for s in page["sections"] if s["id"] == "verdicts")["parts"]
    for name, *_, loss, gain, _, _ in table["rows"]:
        detail = document["benchmarks"]["all" if name == "all, pooled" else name]["verdict_detail"]
        assert (loss, gain) == (f"{detail['p_loss']:.2g}", f"{detail['p_gain']:.2g}")


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
    written = write(document, base, tuned=tuned, out_dir=tmp_path)
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
    write(audit(base, tuned, settings=SETTINGS, warnings=warnings), base, tuned=tuned, out_dir=tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size > 1_000_000


def test_a_single_draw_a_problem_still_makes_a_report(tmp_path):
    for name, correct in (("base", "0"), ("tuned", "1")):
        (tmp_path / f"{name}.csv").write_text(f"problem_id,n,correct\na,1,{correct}\nb,1,1\n")
    base, tuned, warnings = align(load([str(tmp_path / "base.csv")]), load([str(tmp_path / "tuned.csv")]))
    write(audit(base, tuned, settings=SETTINGS, warnings=warnings), base, tuned=tuned, out_dir=tmp_path / "out")
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
