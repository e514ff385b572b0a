"""The audit's numbers as tables: CSV for machines, Markdown for people, LaTeX (booktabs) for papers."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.published import metric_rows

CATEGORIES = ("preserved", "shrunk", "expanded", "out")
LATEX = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "–": "--",
    "−": "$-$",
    "→": r"$\to$",
}


@dataclass
class Table:
    """A table, for Markdown, LaTeX and CSV.

    name: of the file.
    title: above it.
    columns: headings; one named "x_low" or "x_high" follows its "x" and is folded into it outside CSV.
    rows: values (str, int, float, None).
    digits: decimals of floats outside CSV.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[Any]]
    digits: int = 3

    def folded(self) -> tuple[list[str], list[list[str]]]:
        """Columns and text cells, with intervals written behind their values: 0.614 [0.584, 0.644]."""
        keep = [i for i, c in enumerate(self.columns) if not c.endswith(("_low", "_high"))]
        at = {c: i for i, c in enumerate(self.columns)}
        rows = []
        for row in self.rows:
            cells = []
            for i in keep:
                text = self.shown(row[i])
                low, high = (row[at[name]] if name in at else None for name in trio(self.columns[i])[1:])
                if row[i] is not None and (low is not None or high is not None):
                    text += f" [{self.shown(low)}, {self.shown(high) or '∞'}]"
                cells.append(text)
            rows.append(cells)
        return [self.columns[i] for i in keep], rows

    def shown(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, float):
            return f"{value:.2g}" if 0 < abs(value) < 10**-self.digits else f"{value:.{self.digits}f}"
        return str(value)

    def csv(self) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(
            ["" if v is None else repr(v) if isinstance(v, float) else v for v in row] for row in self.rows
        )
        return out.getvalue()

    def markdown(self) -> str:
        columns, rows = self.folded()
        lines = [columns, ["---"] * len(columns), *rows]
        return f"{self.title}\n\n" + "".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
        )

    def latex(self) -> str:
        columns, rows = self.folded()
        body = "".join(" & ".join(escape(cell) for cell in row) + r" \\" + "\n" for row in rows)
        head = " & ".join(escape(c) for c in columns) + r" \\"
        return (
            "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
            f"\\caption{{{escape(self.title)}}}\n\\label{{tab:{self.name}}}\n"
            f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}\n\\toprule\n{head}\n\\midrule\n{body}"
            "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
        ).replace("∞", r"$\infty$")


def escape(text: str) -> str:
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w)])-(?=\d)", "$-$", escaped)  # a minus, not a hyphen


def write_tables(tables: list[Table], folder: Path) -> list[Path]:
    """NAME.csv, NAME.md and NAME.tex of each table (of `problems`, which is long, the CSV alone); each written aside,
    then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        texts = {"csv": table.csv()} | (
            {} if table.name == "problems" else {"md": table.markdown(), "tex": table.latex()}
        )
        for ending, text in texts.items():
            write_text(folder / f"{table.name}.{ending}", text)
            written.append(folder / f"{table.name}.{ending}")
    return written


def write_text(path: Path, text: str) -> None:
    """Aside, then renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def triple(entry: dict | None) -> list[Any]:
    return [None] * 3 if not entry else [entry["value"], entry["low"], entry["high"]]


def _at(setting: Any) -> Any:
    """A sampling setting, or several, as one cell."""
    return ", ".join(map(str, setting)) if isinstance(setting, list) else setting


def trio(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def blocks(document: dict) -> dict[str, dict]:
    """Benchmarks in order, the pooled one last; it alone where there is but one."""
    found = document["benchmarks"]
    names = [name for name in found if name != "all"]
    return {"all": found["all"]} if len(names) == 1 else {name: found[name] for name in [*names, "all"]}


def audit_tables(document: dict) -> list[Table]:
    """Every table of an audit: support with verdicts, support by k, pass@k, metrics, certified, entropy, perplexity,
    problems."""
    by = blocks(document)
    level = f"{round(100 * document['settings']['confidence'], 6):g}%"
    tables = [support_table(by), support_at_k_table(by), pass_at_k_table(by, level), metrics_table(by, level)]
    if rows := [
        [name, *_ladder_row(step)] for name, b in by.items() if b.get("certified") for step in b["certified"]["ladder"]
    ]:
        tables.append(
            Table("certified", "Certified support by eps", ["benchmark", "eps", *CATEGORIES, "undetermined"], rows)
        )
    if rows := [
        [name, key, *triple(e["base"]), *triple(e["tuned"]), *triple(e["difference"])]
        for name, b in by.items()
        for key, e in (b.get("entropy") or {}).items()
        if isinstance(e, dict)
    ]:
        tables.append(
            Table(
                "entropy",
                "Entropy (nats) and distinct answers, means over problems",
                ["benchmark", "quantity", *trio("base"), *trio("tuned"), *trio("difference")],
                rows,
            )
        )
    # perplexity needs no pairing of sides, so each row stands for itself
    if rows := [
        [name, r["category"], r["traces"], r["written_by"], r["under"], _at(r["temperature"]), _at(r["top_p"])]
        + [r["problems"], *triple(r)]
        for name, b in by.items()
        for r in (b.get("perplexity") or {}).get("rows", [])
    ]:
        tables.append(
            Table(
                "perplexity",
                "Perplexity of whole traces by category",
                ["benchmark", "category", "traces", "written by", "under", "temperature", "top p", "problems"]
                + trio("perplexity"),
                rows,
            )
        )
    rows = [
        [
            r["benchmark"],
            r["problem_id"],
            r["base"]["n"],
            r["base"]["correct"],
            r["base"]["low"],
            r["base"]["high"],
            r["tuned"]["n"],
            r["tuned"]["correct"],
            r["tuned"]["low"],
            r["tuned"]["high"],
            r["category"],
            r["certified"],
            r["suspicious_flip"],
        ]
        for r in document["problems_detail"]
    ]
    columns = [
        "benchmark",
        "problem_id",
        "base_n",
        "base_correct",
        "base_p_low",
        "base_p_high",
        "tuned_n",
        "tuned_correct",
        "tuned_p_low",
        "tuned_p_high",
        "category",
        "certified",
        "suspicious_flip",
    ]
    return [*tables, Table("problems", "Problems", columns, rows)]


def _ladder_row(step: dict) -> list[Any]:
    return [step["eps"], *(step[name] for name in CATEGORIES), step["undetermined"]]


def support_table(by: dict[str, dict]) -> Table:
    rows = []
    for name, b in by.items():
        s = b["support"]
        n = b["null"]
        # Each figure with its interval: three columns.
        counts = [x for key in CATEGORIES for x in (s[key], *triple(s["intervals"][key])[1:])]
        rates = [x for key in ("srr", "ndr", "sds", "nscr") for x in triple(s["intervals"][key])]
        rows.append(
            [
                name,
                b["problems"],
                s["k"],
                *counts,
                *rates,
                n["expected_shrunk"],
                n["p_shrunk"],
                n["expected_expanded"],
                n["p_expanded"],
                b["mcnemar_p"],
                b["verdict"],
            ]
        )
    columns = [
        "benchmark",
        "problems",
        "k",
        *(c for key in "PSEO" for c in trio(key)),
        *(c for key in ("SRR", "NDR", "SDS", "NSCR") for c in trio(key)),
        "S null",
        "p(S)",
        "E null",
        "p(E)",
        "McNemar p",
        "verdict",
    ]
    return Table(
        "support",
        "Support: preserved (P), shrunk (S), expanded (E), out (O), against one model drawn twice",
        columns,
        rows,
    )


def support_at_k_table(by: dict[str, dict]) -> Table:
    keys = (*CATEGORIES, "srr", "ndr", "sds", "nscr")
    rows = [
        [name, step["k"], *(x for key in keys for x in triple(step["intervals"][key]))]
        for name, b in by.items()
        for step in b["support_at_k"]
    ]
    columns = ["benchmark", "k", *(c for key in ("P", "S", "E", "O", "SRR", "NDR", "SDS", "NSCR") for c in trio(key))]
    return Table(
        "support_at_k",
        "Support in k draws a side: numbers of problems expected over which k of the draws are taken",
        columns,
        rows,
    )


def pass_at_k_table(by: dict[str, dict], level: str) -> Table:
    rows = [
        [name, int(k), *(x for side in ("base", "tuned", "difference") for x in triple(b["pass_at_k"][side].get(k)))]
        for name, b in by.items()
        for k in b["pass_at_k"]["base"]
    ]
    return Table(
        "pass_at_k",
        f"Unbiased pass@k with {level} intervals over problems",
        ["benchmark", "k", *trio("base"), *trio("tuned"), *trio("difference")],
        rows,
    )


def metrics_table(by: dict[str, dict], level: str) -> Table:
    rows = [
        [name, metric, *triple(base), *triple(tuned), *triple(diff)]
        for name, b in by.items()
        for metric, base, tuned, diff in metric_rows(b)
    ]
    return Table(
        "metrics",
        f"Relatives of pass@k with {level} intervals over problems (Bayes@N: over the draws)",
        ["benchmark", "metric", *trio("base"), *trio("tuned"), *trio("difference")],
        rows,
    )
