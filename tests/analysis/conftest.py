"""What tests of reports share: one browser, and one audited pair of made-up models."""

import pytest
from browser_kit import started
from report_kit import BASE, SETTINGS, TUNED, rows

from analysis.audit import audit
from analysis.readers import align, load
from analysis.records import write_samples
from analysis.report import write


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        running = started(playwright)
        yield running
        running.close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    for name, rates, seed in (("base", BASE, 1), ("tuned", TUNED, 2)):
        write_samples(folder / f"{name}.parquet", rows(name, rates, seed))
    return align(load([str(folder / "base.parquet")]), load([str(folder / "tuned.parquet")]))


@pytest.fixture(scope="session")
def report(pair, tmp_path_factory):
    base, tuned, warnings = pair
    folder = tmp_path_factory.mktemp("report")
    document = audit(base, tuned, settings=SETTINGS, warnings=[*warnings, "a line of warning"])
    write(document, base, tuned=tuned, out_dir=folder)
    return folder, document
