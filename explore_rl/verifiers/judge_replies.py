"""What a judge's reply says: a verdict, a score, or nothing that counts as a vote."""

from __future__ import annotations

import math
import re

from explore_rl.verifiers.extract import settled

# A verdict or a score has to end its clause: "CORRECT or INCORRECT?" and "1 on a scale of 10" say something else.
_END = r"[ \t*_`\"'”’)\]}$]*(?:</\w{1,20}>\s*)?(?:\Z|\n|[.;!](?=\s|\Z|[*_`\"')\]]))"
_JOINT = r"[^\w~≠¬!/-]"  # no sign of a negation
BINARY = re.compile(
    rf"VERDICT(?:{_JOINT}{{1,8}}|[ \t]+is{_JOINT}{{1,8}}|[ \t]*-{_JOINT}{{0,8}})(?:\\boxed\{{)?(CORRECT|INCORRECT)\b"
    rf"(?={_END}|[ \t*_]*(?:[,(–—]|-\s)"
    r"(?![ \t*_]*(?:or|if|but|only|and|not|incorrect|correct)\b))",
    re.IGNORECASE,
)
# a whole number, decimal, fraction or per cent
SOFT = re.compile(
    r"SCORE[ *_]{0,4}(?:[(\[]\s?(?:from\s)?0(?:\.0)?\s?(?:-|–|to)\s?1(?:\.0)?\s?[)\]])?"
    r"[\s:=*_`\"'“(\[$]{1,8}(?:\\boxed\{)?(?P<value>[-+−]?\d*[.,]?\d+(?:e[-+]?\d{1,2})?)"
    r"(?:\s{0,2}\(?(?:/|out\s+of|of)\s{0,2}(?P<whole>\d+(?:[.,]\d+)?)\)?|\s?(?P<percent>%))?"
    r"(?:\s?points?)?(?:\s?\((?!\s*out\b)[A-Za-z ,'-]{1,60}\)|,\s(?!or\b)[A-Za-z][A-Za-z ,'-]{1,80})?"
    rf"\.?(?={_END})",
    re.IGNORECASE,
)
MENTION = {
    "binary": re.compile(r"VERDICT\W{1,8}\w", re.IGNORECASE),
    "soft": re.compile(r"SCORE\W{1,8}\w", re.IGNORECASE),
}


class NoReply(Exception):
    """The endpoint gave no usable reply. `again`: asking again may help. `late`: for want of time."""

    def __init__(self, message: str, again: bool = True, *, late: bool = False):
        super().__init__(message)
        self.again, self.late = again, late


def score_of(reply: str, scale: str) -> float | None:
    """What the reply says last; None if it says nothing of the form that was asked for, or says it in a thought
    that never ended."""
    if scale == "probability":  # `probability_of` gave it
        return float(reply)
    said = settled(reply)
    pattern = BINARY if scale == "binary" else SOFT
    found = list(pattern.finditer(said))
    # what it says last has to be of the form: an earlier, readable score is not its verdict
    last = [match.start() for match in MENTION[scale].finditer(said)]
    if not found or found[-1].start() < last[-1]:
        return None
    if scale == "binary":
        # "VERDICT: CORRECT or VERDICT: INCORRECT"
        if re.search(r"VERDICT\W{1,8}\w+\s+or\b", said[: found[-1].start()].rpartition("\n")[2], re.IGNORECASE):
            return None
        return 1.0 if found[-1][1].upper() == "CORRECT" else 0.0
    return _soft(found[-1])


def probability_of(first: list[dict]) -> float:
    """Of "1" against "0". Raises NoReply if neither is among the most probable first tokens.

    first: {"token", "logprob"} of those.
    """
    mass = {"1": 0.0, "0": 0.0}
    for entry in first:
        if entry["token"].strip() in mass:
            mass[entry["token"].strip()] += math.exp(entry["logprob"])
    if not (total := mass["1"] + mass["0"]) > 0:
        raise NoReply(f"neither 1 nor 0 among its {len(first)} most probable first tokens", again=False)
    return mass["1"] / total


def _soft(match: re.Match[str]) -> float | None:
    """The score that SOFT found, from 0 to 1: "0.8", "0,8", "4/5", "8 out of 10", "80 %"; None outside that."""
    written = match["value"]
    if re.fullmatch(r"[-+−]?[1-9]\d*,\d{3}", written):  # a thousand, or one with three decimals
        return None
    value = float(written.replace("−", "-").replace(",", "."))
    if match["whole"]:
        whole = float(match["whole"].replace(",", "."))
        value = value / whole if whole else -1.0
    elif match["percent"]:
        value /= 100
    return value if 0.0 <= value <= 1.0 else None
