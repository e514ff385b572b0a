#!/usr/bin/env python
"""Runs the cells of a notebook in order, as `python scripts/run_notebook.py examples/laboratory.ipynb`.

Without Jupyter: every code cell is Python in one namespace. What it prints and the figures it leaves open become the
cell's outputs; with --write they are put into the file. Ends with exit code 1 at the first cell that fails.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--write", action="store_true", help="put the outputs into the notebook")
    args = parser.parse_args()
    notebook = json.loads(args.notebook.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        began = time.monotonic()
        error = run_cell("".join(cell["source"]), names, outputs := [])
        cell["outputs"] = outputs
        cell["execution_count"] = number
        print(f"cell {number} of {len(cells)}: {time.monotonic() - began:.1f} s", file=sys.stderr)
        if error:
            print(error, file=sys.stderr)
            return 1
    if args.write:
        args.notebook.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return 0


def run_cell(source: str, names: dict[str, Any], outputs: list[dict[str, Any]]) -> str | None:
    """Runs one cell and appends its outputs. Returns the traceback of one that fails."""
    import matplotlib.pyplot as plt

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "<cell>", "exec"), names)
    except Exception:  # noqa: BLE001 - whatever the cell raises is the answer
        return traceback.format_exc()
    if printed.getvalue():
        outputs.append(
            {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
        )
    for number in plt.get_fignums():
        image = io.BytesIO()
        plt.figure(number).savefig(image, format="png", dpi=80)
        encoded = base64.b64encode(image.getvalue()).decode()
        outputs.append({"output_type": "display_data", "metadata": {}, "data": {"image/png": encoded}})
    plt.close("all")
    print(printed.getvalue(), end="")
    return None


if __name__ == "__main__":
    sys.exit(main())
