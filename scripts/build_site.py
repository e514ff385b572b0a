#!/usr/bin/env python
"""Builds the documentation as a site, in ./site: `python scripts/build_site.py`.

README.md becomes the front page. Links that leave docs/ are led to copies of their files, so that the site is whole by
itself, and mkdocs --strict refuses a link that leads nowhere. mkdocs-material is installed into a throw-away
environment; it is no dependency of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINNED = ("mkdocs==1.6.1", "mkdocs-material==9.8.1")
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)
FRONT = "index.md"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "docs"
        stage(pages)
        (Path(folder) / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text())
        python = Path(folder) / "env" / "bin" / "python"
        venv.create(Path(folder) / "env", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], check=True)
        built = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", ROOT / "site"]
        code = subprocess.run(built, cwd=folder, env=os.environ | {"DISABLE_MKDOCS_2_WARNING": "true"}).returncode
    if code == 0:
        print(f"site: {ROOT / 'site' / 'index.html'}")
    return code


def stage(pages: Path) -> None:
    """Lays out what mkdocs reads. pages: its docs folder, made here."""
    shutil.copytree(ROOT / "docs", pages)
    shutil.copy(ROOT / "README.md", pages / FRONT)
    waiting = [(ROOT / "README.md", pages / FRONT)]
    waiting += [(path, pages / path.relative_to(ROOT / "docs")) for path in sorted((ROOT / "docs").rglob("*.md"))]
    done: set[Path] = set()
    while waiting:
        source, target = waiting.pop()
        if target in done:
            continue
        done.add(target)
        text, reached = led(source, target, pages)
        target.write_text(text)
        waiting += reached


def led(source: Path, target: Path, pages: Path) -> tuple[str, list[tuple[Path, Path]]]:
    """The text of a page with its links led to where the site has them, and the pages that were copied for it."""
    reached: list[tuple[Path, Path]] = []

    def lead(match: re.Match[str]) -> str:
        before, link, mark, after = match.groups()
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        place = (source.parent / link).resolve()
        if not place.exists():
            raise SystemExit(f"{source.relative_to(ROOT)}: {link}: leads nowhere")
        there = copied(place, pages, reached)
        return f"{before}{os.path.relpath(there, target.parent)}{mark or ''}{after}"

    # What stands in code is no link.
    text = source.read_text()
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = LINK.sub(lead, CODE.sub(keep, text))
    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], text), reached


def copied(place: Path, pages: Path, reached: list[tuple[Path, Path]]) -> Path:
    """Where the site has a file or folder of the repository."""
    if place == ROOT / "README.md":
        return pages / FRONT
    if place.is_relative_to(ROOT / "docs") and place.is_file():
        return pages / place.relative_to(ROOT / "docs")
    within = place.relative_to(ROOT)
    if place.is_dir():
        page = pages / "files" / within / FRONT
        if not page.exists():
            page.parent.mkdir(parents=True, exist_ok=True)
            files = [path for path in sorted(place.iterdir()) if path.is_file()]
            names = "".join(f"- [{path.name}]({path.name})\n" for path in files if path.name != "README.md")
            page.write_text(f"# {within}\n\n{names}")
            for path in files:
                copied(path, pages, reached)
        return page
    there = pages / "files" / within
    there.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".md":
        reached.append((place, there))
    shutil.copy(place, there)
    return there


if __name__ == "__main__":
    sys.exit(main())
