"""Reasoning patterns: how often each is used, how often it succeeds, and what of a change is due to which."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.patterns import PatternCounts, split_change
from analysis.report.patterns import patterns_table

FAST = ["--replicates", "200", "--k", "1"]
TEXT = {"check": "Let me verify the result.", "guess": "It must be so.", "algebra": "Let x be the number."}
PATTERNS = {"check": "(?i)verify", "algebra": r"\bx\b"}


def write(path, *, use, success, problems=60, n=40, **columns):
    """use, success: share of draws and success rate by pattern, exactly."""
    rows = []
    for i in range(problems):
        for name, share in use.items():
            draws = round(share * n)
            for j in range(draws):
                correct = j < round(success[name] * draws)
                rows.append(
                    {"problem_id": str(i), "correct": correct, "completion": TEXT[name], "way": name, **columns}
                )
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def audited(tmp_path, patterns, base, tuned, *more):
    path = tmp_path / "patterns.json"
    path.write_text(json.dumps(patterns))
    out = tmp_path / "out"
    arguments = ["audit", "--base", base, "--tuned", tuned, "--patterns", str(path), "--out", str(out), *FAST, *more]
    code = main(arguments)
    return code, json.loads((out / "audit.json").read_text()) if code == 0 else None


def test_choosing_better_patterns_is_told_from_getting_better_at_them(tmp_path):
    success = {"check": 0.75, "guess": 0.25}
    base = write(tmp_path / "b.jsonl", use={"check": 0.2, "guess": 0.8}, success=success)
    tuned = write(tmp_path / "t.jsonl", use={"check": 0.8, "guess": 0.2}, success=success)
    code, document = audited(tmp_path, PATTERNS, base, tuned, "--no-report")
    assert code == 0
    found = document["benchmarks"]["all"]["patterns"]
    assert found["selection"]["value"] == pytest.approx(0.3) and found["within"]["value"] == pytest.approx(0)
    rows = {row["pattern"]: row for row in found["rows"]}
    assert list(rows) == ["check", "algebra", "none of them"]
    assert rows["check"]["share"]["tuned"]["value"] == pytest.approx(0.8)
    assert rows["check"]["success"]["difference"]["value"] == pytest.approx(0)
    assert rows["algebra"]["success"] is None and rows["algebra"]["draws"] == {"base": 0, "tuned": 0}
    table = patterns_table(document["benchmarks"]["all"])
    assert [row[0] for row in table["rows"]] == list(rows) and table["rows"][1][3] == "–"
    assert "+30.0% (" in table["note"] and "because other patterns are chosen" in table["note"]


def test_labels_in_a_column_are_patterns_too(tmp_path):
    use = {"check": 0.5, "guess": 0.5}
    base = write(tmp_path / "b.jsonl", use=use, success={"check": 0.5, "guess": 0.25})
    tuned = write(tmp_path / "t.jsonl", use=use, success={"check": 0.75, "guess": 0.5})
    _, document = audited(tmp_path, {"column": "way"}, base, tuned, "--no-report")
    found = document["benchmarks"]["all"]["patterns"]
    assert [row["pattern"] for row in found["rows"]] == ["check", "guess", "none of them"]
    assert found["within"]["value"] == pytest.approx(0.25) and found["selection"]["value"] == pytest.approx(0)


def test_the_two_parts_are_the_whole_change_whatever_was_used():
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(2):
        used = rng.integers(0, 5, (200, 4))
        used[:, 0] += 1
        sides.append(PatternCounts(("a", "b", "c", "none of them"), used, rng.binomial(used, 0.4), 0))
    change = [side.correct.sum(axis=1) / side.used.sum(axis=1) for side in sides]
    selection, within = split_change(*sides)
    assert np.allclose(selection + within, change[1] - change[0])


@pytest.mark.parametrize(
    "given, message",
    [
        ('{"check": "(verify"}', "pattern 'check' is no regular expression"),
        ("[1]", "should hold an object of names and regular expressions"),
        ("{", "not JSON"),
        ('{"column": "approach"}', "b.jsonl: has no column approach, which --patterns"),
        ('{"none of them": "x"}', "rename that pattern"),
    ],
)
def test_what_holds_no_patterns_is_refused_in_one_line(tmp_path, capsys, given, message):
    base = write(tmp_path / "b.jsonl", use={"check": 1}, success={"check": 0.5}, problems=2)
    tuned = write(tmp_path / "t.jsonl", use={"guess": 1}, success={"guess": 0.5}, problems=2)
    (tmp_path / "patterns.json").write_text(given)
    arguments = ["--base", base, "--tuned", tuned, "--out", str(tmp_path / "o"), "--no-report"]
    assert main(["audit", *arguments, "--patterns", str(tmp_path / "patterns.json")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and error.startswith("python -m analysis audit: error: ")
