"""Where a rendered prompt meets the tokenizer: special tokens, continuations, and what a tokenizer cannot write."""

from __future__ import annotations

import unicodedata
from typing import Any

from analysis.errors import InputError


def _special_tokens(tokenizer: Any) -> set[str]:
    return {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special} | set(
        tokenizer.all_special_tokens
    )


def first_special(text: str, tokenizer: Any) -> str | None:
    """The special token that stands first in the text (the longest, where one begins with another)."""
    found = [(text.index(token), -len(token), token) for token in _special_tokens(tokenizer) if token in text]
    return min(found)[2] if found else None


def refuse_lossy(text: str, ids: list[int], *, tokenizer: Any, what: str) -> None:
    """Raises InputError where the tokens do not stand for the text: some tokenizers drop what they cannot write.

    text: what was encoded.
    ids: its tokens.
    tokenizer: that made them.
    what: whose text it is, for the message.
    """
    back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    wanted = _bare(text)
    got = _bare(back)
    if wanted != got:
        at = next(
            (i for i, pair in enumerate(zip(wanted, got, strict=False)) if pair[0] != pair[1]),
            min(len(wanted), len(got)),
        )
        raise InputError(f"{what} has what the tokenizer cannot write, at {wanted[at : at + 20]!r}: {text[:60]!r}")


def _bare(text: str) -> str:
    """Without what tokenizers may change for good reason: white space, and how a character is composed."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def continuation(text: str, tokenizer: Any) -> list[int]:
    """Ids of a text that follows another. SentencePiece tokenizers put a space before a text's first word; behind a
    newline they do not."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if ids and tokenizer.convert_ids_to_tokens(ids[0]).startswith("\u2581") and not text.startswith((" ", "\u2581")):
        anchor = list(tokenizer("\n", add_special_tokens=False)["input_ids"])
        behind = list(tokenizer("\n" + text, add_special_tokens=False)["input_ids"])
        if behind[: len(anchor)] == anchor:
            return behind[len(anchor) :]
    return ids
