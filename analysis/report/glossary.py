"""Abbreviations of the pages: what each means, where it first stands on a page and, under the pointer, everywhere."""

from __future__ import annotations

import re
from typing import Any

MEANINGS = {
    "P": "preserved: problems solved by both sides",
    "S": "shrunk: problems solved by the base only, the lost ones",
    "E": "expanded: problems solved by the tuned model only, the gained ones",
    "O": "out: problems solved by neither side",
    "k": "samples of a problem that are looked at",
    "n": "draws of a problem that there are",
    "eps": "threshold of the success probability: above it a problem is within reach",
    "p": "p-value: chance of so much, or more, if nothing had changed",
    "p(S)": "p-value of the loss: chance of so many lost problems if nothing had changed",
    "p(E)": "p-value of the gain: chance of so many gained problems if nothing had changed",
    "p(loss)": "p-value of the loss, from all runs of a method",
    "p(gain)": "p-value of the gain, from all runs of a method",
    "SRR": "support retention rate: P / (P + S)",
    "NDR": "net discovery rate: E / (P + E)",
    "SDS": "support dynamics score: harmonic mean of SRR and NDR",
    "NSCR": "net support change rate: (E − S) / (P + E + S)",
    "pass@1": "share of samples that are correct",
    "pass@k": "chance that at least one of k samples is correct",
    "avg@n": "share of correct samples over all n draws, which is also pass@1",
    "maj@k": "chance that the most frequent answer of k samples is correct",
    "pass^k": "chance that all of k samples are correct",
    "G-Pass@k": "chance that at least a share tau of k samples is correct",
    "mG-Pass@k": "mean of G-Pass@k over tau from one half to 1",
    "Cover@tau": "share of problems with a success rate of at least tau",
    "Bayes@N": "mean success rate under a uniform prior, for these very problems",
    "CoT-Pass@k": "chance that at least one of k samples has a correct answer and correct reasoning",
    "Holm": "correction for asking several questions at once, so that their errors together stay at the level",
    "McNemar": "exact test of gained against lost problems, a fair coin where nothing changed",
    "df": "degrees of freedom: how much is known of the spread between runs",
    "sd": "standard deviation",
    "nats": "unit of entropy and of log-probabilities, with the natural logarithm",
}
# how a term is found in a text, where it is not the term itself
_FAMILIES = {"pass@k": r"pass@[\d,]+", "maj@k": r"maj@[\d,]+", "pass^k": r"pass\^[\d,]+", "Cover@tau": r"Cover@[\d.]+"}
_FAMILIES |= {"G-Pass@k": r"G-Pass@[\d,]+", "mG-Pass@k": r"mG-Pass@[\d,]+", "CoT-Pass@k": r"CoT-Pass@[\d,]+"}


def pattern() -> str:
    """A regular expression, the same for Python and the page: a group for what stands before, then one a term, the
    longest first."""
    parts = []
    for term in terms():
        named = _FAMILIES.get(term)
        parts.append(f"({re.escape(term)}{'|' + named if named else ''})")
    return rf"(^|[^\w@^-])(?:{'|'.join(parts)})(?![\w@^(])"


def terms() -> list[str]:
    """In the order of the groups of `pattern`."""
    return sorted(MEANINGS, key=len, reverse=True)


_PATTERN = re.compile(pattern())


def for_page() -> dict[str, Any]:
    """What the page needs to explain a term under the pointer."""
    return {"pattern": pattern(), "meanings": [MEANINGS[term] for term in terms()]}


def used(text: str) -> set[str]:
    """Terms that occur in a text.

    >>> sorted(used("p(S) and maj@16, of SRR"))
    ['SRR', 'maj@k', 'p(S)']
    """
    return {terms()[match.lastindex - 2] for match in _PATTERN.finditer(text) if match.lastindex}


def explain(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sections of a page, each with `terms`: those that stand there first, with their meanings."""
    known: set[str] = set()
    out = []
    for section in sections:
        here = set().union(*(used(text) for text in _texts(section))) - known
        known |= here
        out.append(section | {"terms": [[term, MEANINGS[term]] for term in MEANINGS if term in here]})
    return out


def _texts(section: dict[str, Any]) -> list[str]:
    """Headings, labels and sentences; not the cells of tables, where single letters are names."""
    texts = [section.get("lead") or ""]
    for part in section["parts"]:
        texts += [str(part.get(key) or "") for key in ("caption", "note", "title")]
        columns = part.get("columns") or []
        texts += [column["text"] if isinstance(column, dict) else str(column) for column in columns]
        for row in part.get("rows") or []:
            label = row[0] if row else ""
            texts.append(label["text"] if isinstance(label, dict) else str(label or ""))
    return texts
