"""A stand-in for a small pretrained model: a Llama with tied embeddings, grouped queries 3:1 and 49,152 tokens."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

LINES = ["12 + 30 = 42", "gcd(12, 30) = 6", "7 * 8 = 56", "9 + 4 - 2 = 11", "Two numbers that add to 42: 17 + 25"]


def tokenizer():
    """Byte-level, a digit a token and ' +' a token of its own, as published ones are; ends texts with <|end|>."""
    codes = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    codes.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    codes.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    codes.train_from_iterator(
        LINES * 50,
        trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=codes, eos_token="<|end|>", pad_token="<|end|>")


def model(codes, *, seed=0, spread=0.15):
    """Random; its probabilities are far from even. spread: of the weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=96,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=spread,
        bos_token_id=None,
        eos_token_id=codes.eos_token_id,
        pad_token_id=codes.pad_token_id,
    )
    return LlamaForCausalLM(config).float().eval()
