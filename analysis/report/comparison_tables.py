"""The numbers of a comparison as tables: CSV, Markdown, LaTeX."""

from __future__ import annotations

from typing import Any

from analysis.tables import Table, trio, triple


def comparison_tables(document: dict) -> list[Table]:
    """methods (mean and range over runs), runs (one row each), words, against_base, between_runs and pairs (where they
    are there), exact likewise."""
    names = document["benchmarks"] if len(document["benchmarks"]) > 2 else ["all"]
    ranges = [found for method in document["methods"].values() for found in method["range"].values()]
    keys = list(dict.fromkeys(key for found in ranges for key in found))
    columns = [column for key in keys for column in trio(key)]
    methods = []
    runs = []
    for name, method in document["methods"].items():
        for b in names:
            cells = [x for key in keys for x in _mean_and_range(method["range"][b].get(key))]
            methods.append([name, b, len(method["runs"]), *cells])
            for run, row in zip(method["runs"], method["per_run"][b], strict=True):
                runs.append([run["name"], b, row["verdict"], *(row.get(key) for key in keys)])
    out = [
        Table("methods", "Methods: mean over runs and their range", ["method", "benchmark", "runs", *columns], methods),
        Table("runs", "Runs", ["run", "benchmark", "verdict", *keys], runs),
    ]
    out += [_word_table(document, names), _base_table(document, names)]
    if spreads := _spread_rows(document, names):
        columns = ["benchmark", "k", "method", "runs", "sd", "moderated sd", "df", "methods", "pooled df", "prior df"]
        title = "Standard deviation of pass@k between runs; no prior df: one variance pooled over all methods"
        out.append(Table("between_runs", title, columns, spreads, digits=4))
    if pairs := _pair_rows(document, names):
        title = "Differences of mean pass@k, second minus first, with intervals over problems and runs"
        columns = ["second", "first", "benchmark", "k", *trio("difference"), "df", "p over runs"]
        out.append(Table("pairs", title, columns, pairs))
    if exact := document.get("exact"):
        out.append(_exact_table(exact))
    return out


def _mean_and_range(found: dict | None) -> list[float | None]:
    if not found:
        return [None, None, None]
    return [found["mean"], found["low"], found["high"]] if found["runs"] > 1 else [found["mean"], None, None]


def _pair_rows(document: dict, names: list[str]) -> list[list[Any]]:
    rows = []
    for pair in document["pairs"]:
        for b in names:
            for k, e in pair["benchmarks"][b]["pass_at_k_difference"].items():
                rows.append([pair["second"], pair["first"], b, int(k), *triple(e), e["df"], e["p_over_runs"]])
    return rows


def _word_table(document: dict, names: list[str]) -> Table:
    keys = ("p", "p_majority", "p_spread", "score", "sd", "df")
    rows = []
    for name, method in document["methods"].items():
        for b in names:
            found = method["verdict"][b]
            cells = [found[direction][key] for direction in ("loss", "gain") for key in keys]
            row = [name, b, found["runs"], found["verdict"], found["p_loss"], found["p_gain"], found["questions"]]
            rows.append([*row, *cells])
    columns = ["method", "benchmark", "runs", "word", "p(loss) after Holm", "p(gain) after Holm", "questions"]
    columns += [f"{direction} {key}" for direction in ("loss", "gain") for key in keys]
    return Table("words", "The word of each method, from all of its runs", columns, rows)


def _base_table(document: dict, names: list[str]) -> Table:
    rows = []
    for name, method in document["methods"].items():
        for b in names:
            rows += [[name, b, int(k), *triple(e), e["df"]] for k, e in method["against_base"][b].items()]
    title = "Mean pass@k of a method minus the base's, with intervals over problems and runs"
    return Table("against_base", title, ["method", "benchmark", "k", *trio("difference"), "df"], rows)


def _spread_rows(document: dict, names: list[str]) -> list[list[Any]]:
    rows = []
    for b in names:
        for k, found in document["between_runs"][b].items():
            if not found:
                continue
            board = [found["methods"], found["pooled_df"], found["prior_df"]]
            for name, e in found["of"].items():
                rows.append([b, int(k), name, e["runs"], e["sd"], e["moderated_sd"], e["df"], *board])
    return rows


def _exact_table(exact: dict) -> Table:
    keys = [key for key, value in exact["rows"][0].items() if isinstance(value, dict)]
    rows = []
    for row in exact["rows"]:
        found = [row.get(key) or {"mean": None, "low": None, "high": None} for key in keys]
        rows.append([row["method"], row["runs"], *(e[c] for e in found for c in ("mean", "low", "high"))])
    columns = ["method", "runs", *(column for key in keys for column in trio(key))]
    return Table("exact", "Exact figures: mean over runs and their range", columns, rows)
