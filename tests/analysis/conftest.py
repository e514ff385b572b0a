"""One browser for all tests of pages."""

import pytest
from browser_kit import started


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        running = started(playwright)
        yield running
        running.close()
