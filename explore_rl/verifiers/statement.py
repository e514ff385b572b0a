r"""What a clause says the answer is: "10, since 5 + 5 = 10" says 10, and "therefore the largest n is $34$." says 34.

>>> statement("10 so we stop.", "value"), statement("5 + 5 = 10.", "value")
('10', '5 + 5 = 10')
>>> statement("therefore $18, which is more than $10.", "value")
'$18'
>>> statement("St. Louis, since it is a city. It lies in Missouri.", "words")
'St. Louis'
>>> statement("J. R. R. Tolkien.", "words")
'J. R. R. Tolkien'
"""

from __future__ import annotations

import re
from fractions import Fraction

DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'.])(?:[A-Z]|St|Ste|Mt|Ft|Dr|Mr|Mrs|Ms|Jr|Sr|Prof|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Gov|Sen|Rep|Pres|No"
    r"|vs|Inc|Ltd|Co|Corp|Bros|Ave|Blvd|Rd"
    r"|Mss|Mme|Mlle|Messrs|approx|ca|cf|al|etc|e\.g|i\.e|[ap]\.m|U\.S|Vol|Op|Fr|Adm|Maj|Cpl|Univ|Dept|Est|Art|pp?|[Cc]h|[Ff]ig|[Ss]ec|[Ee]q)$"
)
_SENTENCE_STARTS = re.compile(
    r"\s+(?:It|The|This|That|He|She|They|We|In|So|Because|Since|Its|His|Her|There|However|But|Therefore|Thus|Hence|I)\b"
)
# Yahoo! Inc., Mamma Mia! Here We Go Again
_NAME_GOES_ON = re.compile(
    r"(?!\s+(?:It|This|That|He|She|They|We|So|Because|Since|There|However|But|Therefore|Thus|Hence|No|Yes|I)\b)"
    r"(?:[ \t]+(?:[A-Z][\w.'’-]*|of|the|and|in|a|to|for|with|at|on|by|from)(?=[\s.!?]|$))+[.!?]?\s*(?:\n|$)"
)
_STOP = re.compile(r"[.!?](?=[\s*\"')\]]|$)|[。！？]|\n")
_CLAUSE = re.compile(
    r"\s*,\s+(?:less|more|greater|fewer|higher|lower|larger|smaller|bigger|at\s+(?:least|most)|up\s+from|down\s+from|compared"
    r"|twice|over|under|above|below)\b"
    r"|\s*,?\s+(?:since|because|so|as|which|where|whereas|while|although|though|unlike|not|and\s+not|rather\s+than"
    r"|instead\s+of|given\s+that|when|for|if|but|that\s+is|meaning|making|giving)\b|\s*,?\s+i\.e\."
    r"|\s*[;(]\s*(?:since|because|as|not|which|i\.e\.|that\s+is|rounded|see|where|so|thus|hence|therefore|we|it|this)\b|\s+[-–—]{1,3}\s+(?![\d.\\$(]|[A-Za-z]\b)"
    r"|,?\s+and\s+(?:it|this|that|we|the|so|thus|hence|therefore)\b",
    re.IGNORECASE,
)
_SAFE_CLAUSE = re.compile(
    r"\s*,?\s+(?:since|because)\b|\s*,\s+an?\s+(?=[a-z])"
    r"|\s*;\s+(?:it|this|that|he|she|they|we|which|there|its|the|since|because|as|so|not|in\s+fact|located)\b"
    r"|\s*,\s+(?:which|so|as|not|where|but|given)\b|\s+[-–—]{1,3}\s+(?:since|because"
    r"|which|as)\b|\s+rather\s+than\b",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:\s*,?\s*(?:of\s+course|therefore|thus|hence|we\s+(?:get|have|find|obtain)|it\s+is|so|then|indeed|simply|just|clearly"
    r"|obviously|actually|exactly|precisely|equal\s+to|given\s+by|going\s+to\s+be"
    r"|now|that|the\s+(?:number|value|integer|fraction|ratio|expression|interval|set|point|pair|sum|product|total"
    r"|amount)|a\s+total\s+of|definitely"
    r"|probably|again|indeed|found\s+to\s+be)(?=[\s,:$\\]|$)[,:]?)+\s*",
    re.IGNORECASE,
)
_ONE_NUMBER = re.compile(
    r"(?P<before>(?:[A-Za-z']+,?\s+){2,12})(?P<number>[＄$£€]?-?\d[\d,]*(?:\.\d+)?%?(?:\s+[^\d$\\]*)?)"
)
_IN_WORDS = re.compile(
    r"(?<=[\d%A-Za-z.$])\s+(?:\((?!mod\b|base\b|sin\b|cos\b|tan\b|log\b|ln\b|exp\b)(?:\d+ )?"
    r"[A-Za-z][A-Za-z .'-]{1,60}\)|\[\d{1,2}\])$"
)
# emphasis and tags: **27** apples, __27__, <b>27</b>; 3**3 and x_1 are none
_MARKUP = re.compile(
    r"(?<!\S)\*\*|\*\*(?!\S)|(?<![\w}])_{1,2}(?=\w)|(?<=\w)_{1,2}(?![\w{\\])|</?(?:b|i|u|em|strong|span|code|mark|p)>"
)
_ITEM = re.compile(r"^\(?[a-eA-E]\)\s+(?=[-\d$\\])")
_WORDS_FIRST = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+){0,5}\s+\(([-+]?\d[\d,]*(?:\.\d+)?%?)\)")
# words that make something else of the number behind them
_LIMITS = re.compile(
    r"\b(?:least|most|than|between|not|no|never|or|half|million|over|under|above|below|beyond|up|within|nearly|almost"
    r"|anything|but|except|root|reciprocal|inverse|opposite|multiples?|divisible|divisors?|factors?|powers?|squared?"
    r"|cubed?|twice|double|triple|thrice|thirds?|quarters?|log\w*|mod\w*|base|plus|minus|times|divided|exceed\w*)\b",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(
    r"(yes|no|true|false)\s*[,;:—-]\s*(?:since|because|as|it|they|there|this|that|the|we|every|each)\b", re.IGNORECASE
)
# $\\frac12$ (or $0.5$): one value, written twice
_WRITTEN_AGAIN = re.compile(r"\s*\((?:or|i\.e\.,?|that\s+is,?)\s*\$([^$]{1,80})\$\s*\)\s*[.,;:]*\s*")
# the matrix of the map: $...$
_INTRODUCED = re.compile(r"[A-Za-z][A-Za-z ]{2,60}:\s+(?=\$|\\[(\[]|\\begin)")
_CALCULATION = re.compile(r"([^\d:]{0,3}-?\d[\d,]*(?:\.\d+)?%?(?: [A-Za-z]+)?)\s*:\s+(?=.*[+*/×÷=A-Za-z-])")
_COMMA = re.compile(r",\s+(?=[A-Za-z]{2,}\s+[A-Za-z])")
_IS = re.compile(r"\b(?:is|are|was|be|becomes|equals)\s*:?\s+", re.IGNORECASE)
_NOT_BUT = re.compile(r"\s*(?:definitely\s+)?not\s+[^,;]{1,40}?,?\s+but(?:\s+rather)?\s+", re.IGNORECASE)
_ASKED_AND_DENIED = re.compile(
    r"\?\s+(?:no|nope|wait|actually)\b[\s,.:;!-]*(?:(?:it|that|the\s+answer)(?:['’]s|\s+is)\s+)?(?=\S)", re.IGNORECASE
)
_AMOUNT = r"\$?-?\d[\d,]*(?:\.\d+)?(?:\s?/\s?\d+)?\s?\\?%?\$?"
_TWICE = re.compile(
    rf"(?P<one>{_AMOUNT})\s*(?:,\s*or|or|,\s*i\.e\.,?|\(or)\s+(?:equivalently\s+)?(?P<two>{_AMOUNT})\)?"
)
# of 4 and 6, which is 10
_WORKED_OUT = re.compile(
    r"(?:the\s+(?:sum|product|difference|quotient|ratio|total|mean|average)\s+)?of\s[^=]{1,60}?,?\s+"
    r"(?:which|that)\s+(?:is|equals|gives|makes|comes\s+to)\s+(?P<value>[-$\\\d].{0,60})",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?:\\[,;:! ]|[.,;:\s])+$")
_WORD = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")


def statement(rest: str, of: str) -> str:
    """The answer in the text behind "answer is". of: "value" or "words", as in `extract.final_answer`."""
    rest = rest.lstrip()
    if of == "value" and (lead := _LEAD.match(rest) or _INTRODUCED.match(rest)):
        rest = rest[lead.end() :]
    for opening, closing in DELIMITERS:
        if rest.startswith(opening):
            if (formula := _formula(rest, opening, closing=closing, of=of)) is not None:
                return formula
            break
    said = rest[: (end := sentence_end(rest))]
    if again := _ASKED_AND_DENIED.match(rest, end):  # Paris? No, Rome.
        return statement(rest[again.end() :], of)
    return value_in(_strip(said)) if of == "value" else _words_in(_strip(said))


def sentence_end(text: str) -> int:
    """Where the first sentence ends; the full stop of an abbreviation or an initial ends none."""
    for stop in _STOP.finditer(text):
        if stop.group() == "." and _ABBREVIATION.search(text, 0, stop.start()) and text[stop.end() :].strip():
            if _SENTENCE_STARTS.match(text, stop.end()) and not re.search(
                r"\b(?:St|Mt|Dr|Mr|Mrs|Ms)$", text[: stop.start()]
            ):
                return stop.start()
            if re.match(r"\s+\d", text[stop.end() :]) and re.search(
                r"\b(?:No|Vol|Op|Art|pp?|[Cc]h|[Ff]ig|[Ss]ec|[Ee]q)$", text[: stop.start()]
            ):
                continue
            if re.match(r"\s+[A-Z]|\s*[a-z,)]", text[stop.end() :]) and not text[stop.end() :].startswith("\n"):
                continue
        if stop.group() in "!?" and text[: stop.start()][-1:].isalpha() and _NAME_GOES_ON.match(text, stop.end()):
            continue
        return stop.start()
    return len(text)


def _formula(rest: str, opening: str, *, closing: str, of: str) -> str | None:
    """The formula at the start, with a unit behind it; None if the statement says more than that."""
    end = rest.find(closing, len(opening))
    if end < 0:
        return None
    inside = rest[len(opening) : end].strip()
    after = rest[end + len(closing) :]
    # $18, which is more than $10: those are dollars
    if opening == "$" and re.match(r"[\d.]", inside) and _WORD.search(inside):
        return None
    sentence = after[: sentence_end(after)]
    if opening in ("**", "`"):
        return value_in(_strip(inside)) if of == "value" else _words_in(_strip(inside)) + _bracketed(sentence)
    if again := _WRITTEN_AGAIN.fullmatch(sentence):
        return rf"{inside} \approx {again[1]}"
    if "$" in sentence or r"\(" in sentence:
        clause = _CLAUSE.match(sentence)
        return inside if clause else None
    return inside if _CLAUSE.match(sentence) else inside + _unit_after(sentence)


def _bracketed(sentence: str) -> str:
    """**B** (10 mg): what stands in brackets behind a word in bold."""
    found = re.match(r"\s*\([^()]{1,80}\)", sentence)
    return f" {found.group().strip()}" if found else ""


def _unit_after(sentence: str) -> str:
    """A unit right after the formula ("$5$ cm") belongs to the answer; other words do not."""
    word = re.match(
        r"\s*(\\?%|°|[A-Za-z]{1,12}(?:\s?/\s?[A-Za-z]{1,4}|\s[A-Za-z]{1,12})?(?:\^\{?\d\}?)?)?\s*[,;:*]*\s*$", sentence
    )
    return " " + word.group(1) if word and word.group(1) else ""


def value_in(text: str) -> str:
    """The value that a clause names: without what comes before it ("the largest n is") and after it ("since ...")."""
    text = _ITEM.sub("", _MARKUP.sub("", text))
    if said := _YES_OR_NO.match(text):
        return said[1]
    if denied := _NOT_BUT.match(text):
        text = text[denied.end() :]
    if twice := _TWICE.fullmatch(text):
        if (one := _fraction(twice["one"])) is not None and one == _fraction(twice["two"]):
            text = twice["one"]
    if worked := _WORKED_OUT.fullmatch(text):
        text = worked["value"]
    if lead := _LEAD.match(text):
        text = text[lead.end() :] or text
    # words around exactly one formula: the largest $n$ is $34$
    verbs = list(_IS.finditer(text))
    clause = _CLAUSE.search(text)
    if verbs and (not clause or verbs[0].start() < clause.start()):
        verb = next((verb for verb in reversed(verbs) if not clause or verb.start() < clause.start()), verbs[0])
        if re.search(r"[\d\\$]", text[verb.end() :]) and _WORD.search(text[: verb.start()]):
            text = text[verb.end() :]
            text = text[lead.end() :] if (lead := _LEAD.match(text)) else text
    if (clause := _CLAUSE.search(text)) and text[: clause.start()].strip():
        # "for" and "so" may belong to words; behind a number or a formula they begin another clause
        if re.search(r"[\d\\$})\]%]", text[: clause.start()]):
            text = text[: clause.start()]
    # a calculation behind a colon: "7: 3 + 4"
    if calculation := _CALCULATION.match(text):
        text = calculation[1]
    # a word for it in brackets: "9 (nine)", "9 (dollars)", "nine (9)"
    if said := _WORDS_FIRST.fullmatch(text):
        text = said[1]
    if (said := _IN_WORDS.search(text)) and re.search(r"\d", text[: said.start()]):
        text = text[: said.start()]
    # a comma that ends the value: "10, and that is all"
    if (comma := _COMMA.search(text)) and re.search(r"\d", text[: comma.start()]):
        behind = text[comma.end() :]
        if not re.match(r"(?:and|or)\b", behind) and "=" not in behind and not re.search(r"\d", behind):
            text = text[: comma.start()]
    # a sentence about one number: "John has 15 apples"
    if one := _ONE_NUMBER.fullmatch(text):
        if not _LIMITS.search(one["before"]):
            text = one["number"]
    return _strip(text)


def _fraction(text: str) -> Fraction | None:
    """Of 3/4, 75% or 0.75."""
    number = text.strip().strip("$").replace("\\", "").replace(",", "")
    try:
        return Fraction(number.removesuffix("%").strip()) / (100 if number.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        return None


def _words_in(text: str) -> str:
    clause = _SAFE_CLAUSE.search(text)
    return _strip(text[: clause.start()]) if clause and text[: clause.start()].strip() else text


def _strip(text: str) -> str:
    text = _TAIL.sub("", text.strip().strip("*").strip())
    for opening, closing in DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            if opening not in text[len(opening) : -len(closing)]:
                return text[len(opening) : -len(closing)].strip()
    return text
