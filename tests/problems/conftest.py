"""Small tokenizers of the kinds that models come with, trained here."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "What is 1 + 1? The answer is \\boxed{2}.",
    "Solve x^2 = 4 for x.\nSo x = 2 or x = -2.",
    "def add(a, b):\n    return a + b\n",
] * 20
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]"
    "{% elif message['role'] == 'assistant' %} {{ message['content'] }}{{ eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)


def special(text):
    return AddedToken(text, special=True, normalized=False)


def qwen_like(chat_template=CHATML, eos="<|endoftext|>", pad="<|endoftext|>"):
    """Byte-level BPE, no begin token, ChatML's tokens; by default the end token of a base model, which is not the end
    of a turn."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    bpe.add_special_tokens([special(token) for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=eos, pad_token=pad, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def llama_like(chat_template=LLAMA_CHAT, end_on_every_text=False):
    """SentencePiece manner: a space before the first word, a begin token on every text (and an end token, if asked
    for)."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *learnt["vocab"]]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    bpe = Tokenizer(
        models.BPE(vocabulary, [tuple(pair) for pair in learnt["merges"]], byte_fallback=True, unk_token="<unk>")
    )
    bpe.normalizer = learner.normalizer
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    ids = [("<s>", bpe.token_to_id("<s>")), ("</s>", bpe.token_to_id("</s>"))]
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if end_on_every_text else "<s> $A", special_tokens=ids
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.fixture(scope="session")
def qwen():
    return qwen_like()


@pytest.fixture(scope="session")
def llama():
    return llama_like()


@pytest.fixture
def make_tokenizer():
    """The two functions, for tests that need another chat template or end token."""
    return {"qwen": qwen_like, "llama": llama_like}
