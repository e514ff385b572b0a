"""The pages in a real browser: audit, comparison and completions."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser_kit import FAULTS, faults_at, opened
from report_kit import SETTINGS, exact_section

from analysis.__main__ import main
from analysis.compare import compare
from analysis.report import write_comparison

FIGURES = [
    "pass-at-k",
    "difference",
    "tokens",
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
def test_the_card_says_at_a_glance_what_was_lost_and_gained_and_how_sure(browser, report):
    folder, document = report
    page, complaints = opened(browser, folder / "report.html")
    block = document["benchmarks"]["all"]
    terms = page.locator("#verdict .terms").inner_text()
    assert "16 of the base model" in terms and f"{block['certified']['eps']:.3g}" in terms
    assert "one model drawn twice" in terms
    for key, word, p in (("shrunk", "lost", "p_loss"), ("expanded", "gained", "p_gain")):
        half = page.locator(f"#glance .half.{key}")
        text = half.inner_text()
        assert f"{block['null']['observed_' + key]} {word}" in text
        assert f"chance alone: {block['null']['expected_' + key]:.3g}" in text
        assert f"certified: {block['certified'][key]}" in text
        sure = block["verdict_detail"][p] <= document["settings"]["level"]
        assert ("beyond chance" if sure else "within chance") in text
        widths = page.evaluate(
            "key => ['.track', '.pale', '.chance'].map(c => "
            "document.querySelector(`#glance .half.${key} ${c}`).getBoundingClientRect().width)",
            key,
        )
        kinds = ("observed", "expected")
        top = max(block["null"][f"{kind}_{side}"] for kind in kinds for side in ("shrunk", "expanded"))
        shares = [block["null"][f"{kind}_{key}"] / top for kind in kinds]
        assert [width / widths[0] for width in widths[1:]] == pytest.approx(shares, abs=0.01)
    assert complaints == []


@pytest.mark.browser
def test_an_abbreviation_is_explained_where_it_first_stands_and_under_the_pointer(browser, report):
    page, _ = opened(browser, report[0] / "report.html")
    first = page.evaluate("""() => Object.fromEntries(["SRR", "McNemar", "pass@k", "S"].map(term => {
      const section = [...document.querySelectorAll("section")].find(s => [...s.querySelectorAll("abbr")]
        .some(a => a.textContent === term));
      const said = [...document.querySelectorAll(".glossary b")].filter(b => b.textContent === term);
      return [term, [said.length, section.contains(said[0])]]; }))""")
    assert first == {"SRR": [1, True], "McNemar": [1, True], "pass@k": [1, True], "S": [1, True]}
    assert page.locator("abbr", has_text="NDR").first.get_attribute("title").startswith("net discovery rate")


@pytest.mark.browser
def test_no_text_is_cut_or_lies_over_another_in_an_audit(browser, report):
    page, complaints = opened(browser, report[0] / "report.html")
    for width, scheme in ((1280, "light"), (390, "light"), (390, "dark"), (1280, "dark")):
        assert faults_at(page, width, scheme) == [], (width, scheme)
    page.evaluate("""() => { const text = document.querySelector("#figure-pass-at-k .xtitle");
      text.setAttribute("x", 20); text.setAttribute("y", 30); }""")
    assert faults_at(page, 1280, "dark")  # it would be seen
    assert complaints == []


@pytest.mark.browser
def test_it_prints(browser, report, tmp_path):
    page, complaints = opened(browser, report[0] / "report.html", "dark")
    page.emulate_media(media="print")
    assert not page.locator("#theme").is_visible() and not page.locator(".filters").is_visible()
    # as on A4, drawn from a window that is narrower than the paper
    page.set_viewport_size({"width": 688, "height": 1000})
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("!document.querySelector('.plot') || document.documentElement.dataset.drawn === '688'")
    assert page.evaluate(FAULTS) == []
    bars = page.locator(".track i, .bar i, .dot").evaluate_all(
        "all => all.map(one => getComputedStyle(one).printColorAdjust)"
    )
    assert bars and set(bars) == {"exact"}  # backgrounds, which paper would leave out
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes()[:4] == b"%PDF" and complaints == []


@pytest.mark.browser
def test_a_comparison_shows_methods_pairs_and_exact_figures(browser, pair, tmp_path):
    base, tuned, _ = pair
    document = compare(base, {"grpo": [tuned, base], "mixture": [tuned]}, settings=SETTINGS)
    training = [
        {"method": name, "seed": seed, "step": [0, 1], "metrics": {"reward/mean": [0.1, 0.2 + 0.1 * seed]}}
        for name in ("grpo", "mixture")
        for seed in (0, 1)
    ]
    rows = [{"setting": "learner.lr", "of_method": False, "values": ["1e-6", "2e-6"]}]
    more = {"training": training, "differing": {"names": ["grpo", "mixture"], "rows": rows}}
    write_comparison(document | more | {"exact": exact_section()}, tmp_path)
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
        "training-reward-mean",
    ]
    assert {name: drawn(page, name) for name in names if drawn(page, name) < 1} == {}
    loaded = page.locator("#exact-tree img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert loaded and page.locator("#exact-tree a").get_attribute("download") == "tree.svg"
    for width, scheme in ((1280, "light"), (390, "dark")):
        assert faults_at(page, width, scheme) == [], (width, scheme)
    assert page.locator("section").first.get_attribute("id") == "settings"  # more than the method differs
    assert complaints == []
    kept = json.loads((tmp_path / "compare.json").read_text())
    assert kept["exact"]["rows"][2]["runs"] == 2
    table = list(csv.DictReader((tmp_path / "tables" / "runs.csv").open()))
    assert len(table) == 3 * 3 and {row["benchmark"] for row in table} == {"aime24", "math500", "all"}
    assert (tmp_path / "figures" / "exact_pass_at_k.svg").exists() and (tmp_path / "tables" / "exact.tex").exists()


def rollouts(step, samples=8):
    """What a run records of a step: two problems, and a trace of the first."""
    made = []
    for group, problem in enumerate(("add", "multiply")):
        for i in range(samples):
            correct = (i + step) % 3 == 0
            source = "trace" if group == 0 and i == 0 else "policy"
            text = f"</script><b>{problem}</b> step {step} draw {i}" + (
                " needle" if (step, group, i) == (2, 1, 5) else ""
            )
            row = {"step": step, "problem_id": problem, "group": group, "source": source, "text": text}
            row |= {"verdict": "correct" if correct else "wrong", "answer": str(i), "reward": float(correct)}
            made.append(row | {"advantage": correct - 0.5, "tokens": list(range(3 + i)), "seed": 2**60 + i})
    return made


@pytest.mark.browser
def test_completions_of_a_run_are_filtered_sorted_grouped_and_searched(browser, tmp_path, capsys):
    (tmp_path / "run" / "rollouts").mkdir(parents=True)
    for step in range(4):
        pq.write_table(pa.Table.from_pylist(rollouts(step)), tmp_path / "run" / "rollouts" / f"step-{step:06d}.parquet")
    assert main(["rollouts", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("All 64 completions of 4 steps.") and str(tmp_path / "run" / "rollouts.html") in said
    page, complaints = opened(browser, tmp_path / "run" / "rollouts.html")
    listed = page.locator("#list .entry")
    assert listed.count() == 50 and "50 of 64" in page.locator("#count").inner_text()
    page.locator("#more").click()
    assert listed.count() == 64
    page.locator("#verdict").select_option("correct")
    expected = sum(row["verdict"] == "correct" for step in range(4) for row in rollouts(step))
    assert listed.count() == expected
    page.locator("#source").select_option("trace")
    assert listed.count() == 2  # of steps 0 and 3
    page.locator("#verdict").select_option("")
    page.locator("#source").select_option("")
    page.locator("#search").fill("needle")
    assert listed.count() == 1
    listed.first.locator("summary").click()
    inside = listed.first.locator(".inside")
    inside.wait_for()
    text = inside.inner_text()
    assert "</script><b>multiply</b> step 2 draw 5 needle" in text  # shown as it is, not run
    assert str(2**60 + 5) in text and "8 tokens" in text
    page.locator("#search").fill("")
    page.locator("#sort").select_option("tokens")
    page.locator("#direction").click()
    assert "draw 7" in listed.first.locator(".start").inner_text()  # the longest
    page.locator('#steps [data-step="1"]').click()
    assert listed.count() == 16
    page.locator('[data-view="groups"]').click()
    assert listed.count() == 2
    right = [sum(r["verdict"] == "correct" and r["group"] == g for r in rollouts(1)) for g in (0, 1)]
    assert sorted(f"{c}/8" for c in right) == sorted(page.locator("#list .rate").all_inner_texts())
    for width, scheme in ((1280, "light"), (390, "dark")):
        assert faults_at(page, width, scheme) == [], (width, scheme)
    assert complaints == []
