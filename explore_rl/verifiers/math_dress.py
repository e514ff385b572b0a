r"""Takes the dress off a mathematical answer: the same thing in fewer ways of writing, still LaTeX. Linear, and
evaluates nothing.

    >>> undress(r"\dfrac12 \text{ percent}"), undress("3¾"), undress(r"10⁻³"), undress(r"\$5")
    ('\\frac{1}{2}%', '3\\frac{3}{4}', '10^{-3}', '＄5')

A dollar that is money becomes ＄ (U+FF04), since `$` also delimits formulas.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

DOLLAR = "＄"  # money; the ordinary sign is taken for a delimiter
MONEY = f"{DOLLAR}£€¥₹"
TEXT_COMMANDS = r"\\(?:text|textrm|textnormal|mathrm|mbox|hbox|operatorname|rm)"
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|gcd|lcm"

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "π": r"\pi ",
    "∞": r"\infty ",
    "≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "°": r"^{\circ}", "℃": r"^{\circ}\text{C}", "℉": r"^{\circ}\text{F}", "≈": r"\approx ", "∅": r"\emptyset ",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "ω": r"\omega ", "φ": r"\phi ",
    "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "ℝ": r"\mathbb{R}", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ", "μ": "µ", "Ω": "Ω", "∖": r"\setminus ",
    "‰": r"\text{ permille}", "Å": "Å", "′": "'", "″": "''",
    "¢": r"\text{ cents}", "⁄": "/", "…": r"\ldots ",
}  # fmt: skip
for _sign in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞":
    _top, _bottom = unicodedata.normalize("NFKD", _sign).split("⁄")
    _UNICODE[_sign] = rf"\frac{{{_top}}}{{{_bottom}}}"
# letters, digits and signs of full width
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code != ord(DOLLAR)} | {0xFE63: "-"}
_UNICODE_RE = re.compile("|".join(map(re.escape, _UNICODE)))
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ"
_RAISED_RE = re.compile(f"[{_RAISED}]+")
_RAISED_TABLE = str.maketrans(_RAISED, "0123456789+-n")
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋"
_LOWERED_RE = re.compile(f"[{_LOWERED}]+")
_LOWERED_TABLE = str.maketrans(_LOWERED, "0123456789+-")


_FRACTIONS = {
    f"{one}{blank}{name}": rf"\frac{{{top}}}{{{bottom}}}"
    for blank in (" ", "-")
    for one, name, top, bottom in [
        ("a", "half", 1, 2), ("one", "half", 1, 2), ("a", "third", 1, 3), ("one", "third", 1, 3),
        ("two", "thirds", 2, 3), ("a", "quarter", 1, 4), ("one", "quarter", 1, 4), ("three", "quarters", 3, 4),
    ]
}  # fmt: skip
_Replacement = str | Callable[[re.Match[str]], str]


def _compiled(rules: list[tuple[str, _Replacement]]) -> list[tuple[re.Pattern[str], _Replacement]]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


# any real constant c
_WHATEVER = (
    r"(?:any|all|every|some|arbitrary|each)\b(?:[\s,}]|\b[a-zA-Z]\b|\b(?:real|complex|positive|nonzero|natural|integers?|constants?|numbers?|values?)\b"
    r"|\\in\s*\\mathbb\s*\{[RZQCN]\})*"
)
# For a text with a backslash.
_LATEX = _compiled([
    (r"^\\(?:text|textbf|mathrm|mathbf)\s*\{\s*\([A-E]\)\s*\}(?:[~\s]|\\[ ,;:]|\\q?quad)*(?=\S)", ""),  # (B) 12
    (r"\\(?:underline|uline|colorbox\s*\{[a-z]*\}|textcolor\s*\{[a-z]*\})(?=\s*\{)|\\color\s*\{[a-z]*\}", ""),
    (r"\\!\s*", ""),
    (r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*\.?", ""),
    (r"\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|mathstrut|hfill|newline|boxed|bf|it|ensuremath|therefore"
     r"|tiny|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])", " "),
    (r"\\[hv]space\*?\s*\{[^{}]*\}|\\[hv]?phantom\s*\{[^{}]*\}|\\tag\*?\s*\{[^{}]*\}", " "),
    (r"\\$", ""),  # 42\ whose last blank is stripped
    (r"\\[dt]?binom\s*(\d)\s*(\d)", r"\\binom{\1}{\2}"),
    (r"\{\s*(\w{1,9})\s*\\choose\s*(\w{1,9})\s*\}|(?<![\w{])(\w{1,9})\s*\\choose\s*(\w{1,9})(?![\w}])",
     lambda match: rf"\binom{{{match[1] or match[3]}}}{{{match[2] or match[4]}}}"),
    (r"(?<=[A-Za-z)])\s*\^\s*(?:\\prime(?![a-zA-Z])|\{((?:\s*\\prime(?![a-zA-Z]))+)\s*\})",
     lambda match: "'" * max(1, (match[1] or "").count("prime"))),
    # from A to B: one thing with a direction, and no product
    (r"\\(?:vec|overrightarrow)\s*\{\s*([A-Z]{2})\s*\}", r"v_{\1}"),
    (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
    (r"\\[lcd]?dots[bcmio]?(?![a-zA-Z])", r"\\ldots"),
    # f(x) = cx for any c
    (rf",?\s*(?:{TEXT_COMMANDS}\s*\{{\s*,?\s*)?\b(?:for|where)\s+{_WHATEVER}$", ""),
    (r"\\(?:geqslant|geqq|ge)(?![a-zA-Z])", r"\\geq"),
    (r"\\(?:leqslant|leqq|le)(?![a-zA-Z])", r"\\leq"),
    (r"\\ne(?![a-zA-Z])", r"\\neq"),
    (r"\\lt(?![a-zA-Z])", "<"),
    (r"\\gt(?![a-zA-Z])", ">"),
    (r"\\(?:lbrace|lgroup)(?![a-zA-Z])", r"\\{"),
    (r"\\(?:rbrace|rgroup)(?![a-zA-Z])", r"\\}"),
    (r"\\lbrack(?![a-zA-Z])", "["),
    (r"\\rbrack(?![a-zA-Z])", "]"),
    (r"\\(?:varnothing|O)(?![a-zA-Z])", r"\\emptyset"),
    (r"\\(?:simeq|approxeq|doteq|cong)(?![a-zA-Z])", r"\\approx"),
    (r"\\(?:setminus|smallsetminus|backslash)(?![a-zA-Z])", r"\\setminus "),
    (r"\\(?:mid|vert)(?![a-zA-Z])", "|"),
    (r"\\[Rr]eals?(?![a-zA-Z])|\\mathbf\s*\{?R\}?(?![a-zA-Z])", r"\\mathbb{R}"),
    (r"\\mathbb\s*R(?![a-zA-Z])", r"\\mathbb{R}"),
    (r"\\(?:mathbf|boldsymbol|bm|vec|overrightarrow|mathit|mathsf)(?![a-zA-Z])\s*", ""),
    (r"\\(?:textbf|textit|textsf|texttt|emph)(?=\s*\{)", r"\\text"),
    # upright letters and roman function names are letters and functions
    (rf"{TEXT_COMMANDS}\s*\{{\s*([eidπ])\s*\}}", r"\1 "),
    (rf"{TEXT_COMMANDS}\s*\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
    (rf"{TEXT_COMMANDS}\s*\{{\s*(max|min)\s*\}}(?=\s*[({{\\_])", r"\\\1 "),
    # text without a letter is no text: \text{13}, \text{:}
    (rf"{TEXT_COMMANDS}\s*\{{([^{{}}A-Za-zµΩÅ%‰°]*)\}}", r"\1"),
    (r"\\(?:degree|degrees)(?![a-zA-Z])", r"^{\\circ}"),
    (r"\\(?:quad|qquad|enspace|thinspace)(?![a-zA-Z])|\\[,;:>\s]", " "),
    (r"\\%", "%"),
    (r"\\AA(?![a-zA-Z])|\\mathring\s*\{?A\}?|\\r\s*\{A\}", "Å"),
    (rf"{TEXT_COMMANDS}\s*\{{\s*([kMGTmµ]?)\s*\}}\s*(?:\\Omega|Ω)(?![a-zA-Z])", r"\\text{\1Ω}"),
    (rf"{TEXT_COMMANDS}\s*\{{\s*(\\(?:pi|theta|alpha|beta|gamma|delta|lambda|phi|omega|infty))\s*\}}", r"\1 "),
    (r"\\frac\s*(\\[a-z]+)\s*(?=\d|\{|\\)", r"\\frac{\1}"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
    (r"(\\frac\s*\{[^{}]{1,200}\})\s*(\d|[a-zA-Z])", r"\1{\2}"),
    (r"\\bar\s*\{?(\d{1,40})\}?", r"\\overline{\1}"),
    (r"((?:\\dot\s*\{\d\})+)(?!\d)", lambda match: r"\overline{" + re.sub(r"\D", "", match[1]) + "}"),
])  # fmt: skip
# For any text.
_PLAIN = _compiled([
    (r"(?i)\bhalf\s+a\s+(?=(?:thousand|million|billion|trillion|dozen)\b)", "0.5 "),
    (r"(?<![\d)])!=", r"\\neq "),  # 4!=24 holds a factorial
    (r"<=", r"\\leq "),
    (r">=", r"\\geq "),
    (rf"\bnp\.({_FUNCTIONS}|sqrt)\b", r"\\\1"),
    (r"(?<![\\a-zA-Z])sqrt\s*\(([^()]{1,60})\)", r"\\sqrt{\1}"),
    (r"√\s*\(([^()]{1,60})\)", r"\\sqrt{\1}"),
    (r"√\s*(\d{1,20}|[a-zA-Z])", r"\\sqrt{\1}"),
    (r"∛\s*\(?(\d{1,20}|[a-zA-Z])\)?", r"\\sqrt[3]{\1}"),
    (rf"(?<![\\a-zA-Z])({_FUNCTIONS})(?=\s*\(|\s+\d|\s*\\pi)", r"\\\1 "),
    (r"(?<![\\a-zA-Z\d])(?<!\d\s)(max|min)(?=\s*\()", r"\\\1 "),
    (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi"),
    (r"(?<![\\a-zA-Z])(?:inf|infinity|infty|oo)(?![a-zA-Z])", r"\\infty"),
    (r"(?<=\d)\s*([kMGTmµ])\s*(?:\\Omega(?![a-zA-Z])|Ω)", r" \\text{\1Ω}"),
    (r"\*\*", "^"),
    (r"(?:\{\}\s*)?[_^]\s*\{?(\d+)\}?\s*C_?\s*\{?(\d+)\}?", r"\\binom{\1}{\2}"),  # _6C_2
    (rf"(?<=\d)\s+and\s+({'|'.join(_FRACTIONS)})\b", lambda match: _FRACTIONS[match[1]]),
    (r"(?i)(?<=[\d})])\s*(?:\\(?:text|mathrm|mbox)\s*\{\s*)(?:percent|per\s?cent|pct\.?|%)\s*\}", "%"),
    (r"(?i)(?<=[\d})])\s*(?:percent|percentage(?!\s+point)|per\s?cent|pct)\b\.?", "%"),
])  # fmt: skip
_SEPARATORS = re.compile(
    r"\\(?:text|mathrm|textrm|mbox)\s*\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?<=[\s\d})\]$])(?:and|or)(?=[\s\d({\[$\\-])"
    r"(?!\s+(?:more|less|fewer|greater|higher|lower|above|below|over|under|larger|smaller)\b)"  # 5 or more
)
_WHOLE_TEXT = re.compile(rf"\s*{TEXT_COMMANDS}\s*\{{([^{{}}]*)\}}\s*")
# Between conditions and numbers; p \land q is a formula of logic.
_LOGIC = _compiled(
    [(r"\\(?:land|wedge)(?![a-zA-Z])", r"\\text{ and }"), (r"\\(?:lor|vee)(?![a-zA-Z])", r"\\text{ or }")]
)
_CONDITION = re.compile(r"[=<>\d]|\\(?:leq|geq|neq|in)(?![a-zA-Z])")
_POWER_IN_TEXT = re.compile(rf"{TEXT_COMMANDS}\s*\{{(?:[^{{}}^]*\^\{{-?\d\}})+")  # \mathrm{m\,s^{-2}}
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE = re.compile(
    rf"\s*(\d{{1,2}})(?:st|nd|rd|th)?\s+({_MONTHS})\s*|\s*({_MONTHS})\s+(\d{{1,2}})(?:st|nd|rd|th)?\s*", re.I
)


@lru_cache(maxsize=4096)
def undress(text: str) -> str:
    r"""The answer in fewer ways of writing: no sizes, spacing commands or delimiters, \frac for every fraction, LaTeX
    for Unicode."""
    text = _money(text).replace("\\\\", "\uffff")  # \\ ends a row, and must not be split
    if not text.isascii():
        text = text.translate(_WIDE)
        text = _UNICODE_RE.sub(lambda match: _UNICODE[match.group()], text)
        text = _RAISED_RE.sub(lambda match: f"^{{{match.group().translate(_RAISED_TABLE)}}}", text)
        text = _LOWERED_RE.sub(lambda match: f"_{{{match.group().translate(_LOWERED_TABLE)}}}", text)
    if "~" in text:
        text = text.replace("~", " ")
    if whole := _WHOLE_TEXT.fullmatch(text.replace(r"\textbf", r"\text")):
        text = whole[1]
    if "\\" in text:
        if "^{" in text:
            text = _POWER_IN_TEXT.sub(
                lambda match: match.group().replace("^{", "^").replace("}", "", match.group().count("^{")), text
            )
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
        for pattern, replacement in _LOGIC if _CONDITION.search(text) else ():
            text = pattern.sub(replacement, text)
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    if date := _DATE.fullmatch(text):
        text = f"{date[2] or date[3]} {date[1] or date[4]}"
    if "&" in text and "\\begin" not in text:
        text = text.replace("&", " ")
    text = text.replace("\uffff", "\\\\").strip().removesuffix("\\\\")
    return text.strip() if text.endswith("...") and text[-4:-3].isdigit() else text.strip().rstrip(".;:,").strip()


def _money(text: str) -> str:
    r"""\$ is money; so is a lone $ before a number ("$18 per day"). Every other dollar sign delimits a formula."""
    text = text.replace(r"\$", DOLLAR)
    count = text.count("$")
    if count == 1:
        text = re.sub(r"\$(?=\s*[\d.])", DOLLAR, text)
    return text.replace("$", " ") if count else text


def separated(text: str) -> str:
    """With a comma for each "and" or "or" between answers."""
    return _SEPARATORS.sub(",", text) if "and" in text or "or" in text else text


def compact(text: str) -> str:
    """Without blanks, for comparison as text."""
    return re.sub(r"\s+", "", text)


_BLANK = re.compile(r"\s+")
_BLANK_THAT_COUNTS = re.compile(r"(?<=\d)\s+(?=[\d.])|(?<=[A-Za-z])\s+(?=[A-Za-z])")


def squeezed(text: str) -> str:
    """Without the blanks that change nothing: 3 1/2 is not 31/2, and m s is not ms."""
    if not _BLANK.search(text):
        return text
    return _BLANK.sub("", _BLANK_THAT_COUNTS.sub("\0", text))
