"""Completions as token ids: every sequence of tokens that writes one, so that the probability of a text is a sum."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from analysis.errors import InputError
from explore_rl.real.families import END

DIGITS = "0123456789"


def stop_id(tokenizer: Any) -> int:
    """The newline as a token. Raises InputError where it is none."""
    ids = _pieces(tokenizer).get(END, [])
    if len(ids) != 1:
        raise InputError(f"the tokenizer writes a newline as {len(ids)} tokens; a completion's end has to be one")
    return ids[0]


def digit_ids(tokenizer: Any) -> tuple[int, ...]:
    """The tokens that a number could go on with: all that begin with a digit."""
    return tuple(sorted(i for text, ids in _pieces(tokenizer).items() if text[0] in DIGITS for i in ids))


def ways(completion: str, tokenizer: Any) -> list[list[int]]:
    """Every sequence of tokens that writes a completion and ends with the newline token, the tokenizer's own first.

    A completion that is judged by its text is right in any of them. Raises InputError for a tokenizer that joins the
    newline to what stands before it, since the engine would not stop there.
    """
    stop = stop_id(tokenizer)
    body = completion.removesuffix(END)
    pieces = _pieces(tokenizer)
    found: list[list[int]] = []

    def grow(begin: int, ids: list[int]) -> None:
        if begin == len(body):
            found.append([*ids, stop])
            return
        for end in range(begin + 1, len(body) + 1):
            for token in pieces.get(body[begin:end], ()):
                grow(end, [*ids, token])

    grow(0, [])
    joined = _joined(tokenizer)
    own = list(tokenizer(completion, add_special_tokens=False)["input_ids"])
    if joined or own not in found:
        what = f"its token {joined[0]!r}" if joined else f"it writes {completion!r} as {own}"
        raise InputError(f"the tokenizer does not end a number with a newline token of its own: {what}")
    return [own, *(ids for ids in found if ids != own)]


@lru_cache(maxsize=4)
def _joined(tokenizer: Any) -> list[str]:
    """Tokens that hold a number's end and the newline behind it."""
    return [text for text in _pieces(tokenizer) if len(text) > 1 and text.endswith(END) and text[0] in DIGITS]


def special_ids(tokenizer: Any) -> set[int]:
    """The tokens that decode to nothing when special tokens are skipped, as in the text of a completion."""
    return {i for i, token in tokenizer.added_tokens_decoder.items() if token.special} | set(tokenizer.all_special_ids)


@lru_cache(maxsize=4)
def _pieces(tokenizer: Any) -> dict[str, list[int]]:
    """Text -> the tokens that write it, of all tokens but the special ones."""
    special = special_ids(tokenizer)
    pieces: dict[str, list[int]] = {}
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    for token, text in enumerate(texts):
        if text and token not in special:
            pieces.setdefault(text, []).append(token)
    return pieces
