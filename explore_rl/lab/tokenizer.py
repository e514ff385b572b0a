"""One character, one token: so one answer is one token sequence, and the audit can add up exact probabilities.

It is Qwen2's own byte-level tokenizer with an empty list of merges, because transformers gives a Qwen2 checkpoint that
class whatever its files say.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

CHARACTERS = "0123456789+-*/()=: "
END = "<end>"
PAD = "<pad>"


def build(context: int = 64) -> PreTrainedTokenizerFast:
    """The tokenizer. Ids 0.. are CHARACTERS in order, then the end token, then padding.

    Encoding adds nothing, and drops characters that are not in CHARACTERS. Decoding joins without spaces.

    context: the longest text that its models take, in tokens.
    """
    space = "Ġ"  # as byte-level BPE writes it
    vocabulary = {character.replace(" ", space): index for index, character in enumerate(CHARACTERS)}
    vocabulary |= {END: len(vocabulary), PAD: len(vocabulary) + 1}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
