"""One character, one token: so one answer is one token sequence, and the audit can add up exact probabilities."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHARACTERS = "0123456789+-*/()=: "
END, PAD = "<end>", "<pad>"


def build() -> PreTrainedTokenizerFast:
    """Ids 0.. are CHARACTERS in order, then the end token, then padding. Encoding adds nothing; decoding joins without spaces.

    A character that is not in CHARACTERS becomes the padding token (there is no other meaning for it).
    """
    vocabulary = {character: index for index, character in enumerate(CHARACTERS)}
    vocabulary |= {END: len(vocabulary), PAD: len(vocabulary) + 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=AddedToken(END, special=True, normalized=False),
        pad_token=AddedToken(PAD, special=True, normalized=False),
        model_max_length=64,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
