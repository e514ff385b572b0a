"""Near misses of a reference answer."""

from __future__ import annotations

import re


def near_misses(answer: str) -> list[str]:
    """Other answers that look like this one: a changed number, a dropped or added minus, a missing or an additional
    part, swapped coordinates."""
    misses = []
    if numbers := list(re.finditer(r"(?<![\d.,_{A-Za-z])\d+(?![\d.,]|\s*[}eE])", answer)):
        at = numbers[-1]
        misses.append(f"{answer[: at.start()]}{int(at.group()) + 1}{answer[at.end() :]}")
    if answer.startswith("-") and "," not in answer and "\\pm" not in answer:
        misses.append(answer[1:])
    elif re.match(r"[\d.]", answer) and answer.strip("0., ") and "," not in answer:
        misses.append(f"-{answer}")
    if re.fullmatch(r"[-\d]+(, ?[-\d]+)+", answer) and not re.fullmatch(r"\d{1,3}(,\d{3})+", answer):
        parts = re.split(", ?", answer)
        if len(set(parts)) == len(parts):
            misses.append(", ".join(parts[1:]))
        misses.append(", ".join([*parts, "12345"]))
    if (pair := re.fullmatch(r"\$?\(([^(),]+),([^(),]+)\)\$?", answer)) and pair[1].strip() != pair[2].strip():
        misses.append(f"({pair[2]},{pair[1]})")
    return misses
