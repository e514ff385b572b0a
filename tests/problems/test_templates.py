"""Prompts and completions as token ids: special tokens once, the right end token, and clear words where tokenizer and
template do not fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, Qwen2Config

from analysis.errors import InputError
from explore_rl.problems.template_checks import check, check_lengths
from explore_rl.problems.templates import encode_completion, load_template, template_hash
from explore_rl.types import Problem

QUESTION = Problem(id="q", prompt="What is 1 + 1?", answer="2", verifier="math")
CONVERSATION = Problem(
    id="c",
    prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}],
    answer="2",
    verifier="math",
)


def test_named_templates_read_as_published(qwen):
    assert load_template("none").render(QUESTION) == "What is 1 + 1?"
    assert load_template("plain").render(QUESTION) == "Question: What is 1 + 1?\nAnswer:"
    assert load_template("qwen-boxed").render(QUESTION) == (
        "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert load_template("r1").render(QUESTION).endswith("User: What is 1 + 1?\nAssistant:")
    assert (
        load_template("chat").render(QUESTION, qwen)
        == "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_system_messages(qwen):
    assert (
        load_template("chat")
        .render(CONVERSATION, qwen)
        .startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")
    )
    assert load_template("none").render(CONVERSATION) == "Be brief.\n\nWhat is 1 + 1?"
    assert "Be brief." not in load_template("qwen-boxed").render(CONVERSATION)  # it has an instruction of its own


def test_braces_of_latex_are_left_alone():
    problem = Problem(id="b", prompt=r"\frac{1}{2} and {prompt} and {{x}}", answer="1", verifier="math")
    assert load_template("plain").render(problem) == "Question: " + problem.prompt + "\nAnswer:"


@pytest.mark.parametrize("name", ["chat", "plain", "none", "r1"])
def test_begin_token_exactly_once_and_no_end_token(name, llama, make_tokenizer):
    for tokenizer in (llama, make_tokenizer["llama"](end_on_every_text=True)):
        ids = load_template(name).encode(QUESTION, tokenizer)
        assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
        assert tokenizer.eos_token_id not in ids


def test_begin_token_written_in_a_template_of_ones_own_is_not_doubled(llama, tmp_path):
    (tmp_path / "own.jinja").write_text("{{ bos_token }}Q: {{ prompt }}\n")
    ids = load_template(str(tmp_path / "own.jinja")).encode(QUESTION, llama)
    assert ids.count(llama.bos_token_id) == 1


def test_special_tokens_of_a_template_are_single_ids(qwen):
    ids = load_template("qwen-boxed").encode(QUESTION, qwen)
    assert (
        ids.count(qwen.convert_tokens_to_ids("<|im_start|>")) == 3
        and ids.count(qwen.convert_tokens_to_ids("<|im_end|>")) == 2
    )


def test_end_token_is_the_one_of_the_turn_not_the_tokenizers(qwen, llama):
    assert load_template("chat").end_token(qwen) == "<|im_end|>"  # the tokenizer of a base model says <|endoftext|>
    assert load_template("qwen-boxed").end_token(qwen) == "<|im_end|>"
    assert load_template("plain").end_token(qwen) == "<|endoftext|>"
    assert load_template("plain", end="<|im_end|>").end_token(qwen) == "<|im_end|>"
    assert load_template("chat").end_token(llama) == "</s>"


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_completions_decode_to_what_was_written(text, qwen, llama):
    """Also for SentencePiece tokenizers, which put a space before a text unless told that it continues another."""
    for tokenizer, name in ((qwen, "chat"), (llama, "plain")):
        template = load_template(name)
        ids = template.encode_completion(text, tokenizer)
        assert ids[-1] == template.end_id(tokenizer) and template.end_id(tokenizer) not in ids[:-1]
        prompt = template.encode(QUESTION, tokenizer)
        before = tokenizer.decode(prompt, skip_special_tokens=False)
        behind = tokenizer.decode(prompt + ids[:-1], skip_special_tokens=False).removeprefix(before)
        assert (
            behind == text or behind == " " + text and text[0] in "\n "
        )  # a newline merges with the mark that shows no space


def test_end_token_is_not_doubled_nor_allowed_inside(qwen):
    template = load_template("chat")
    assert template.encode_completion("2<|im_end|>", qwen) == template.encode_completion("2", qwen)
    with pytest.raises(InputError, match="before its end"):
        template.encode_completion("2<|im_end|> and more", qwen)
    assert encode_completion("2", qwen)[-1] == qwen.eos_token_id  # without a template: the tokenizer's own


def test_a_template_file_may_name_its_end_token(qwen, llama, tmp_path):
    path = tmp_path / "chatml.txt"
    path.write_text("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{completion}<|im_end|>\n")
    template = load_template(str(path))
    assert template.render(QUESTION) == "<|im_start|>user\nWhat is 1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    assert template.end_token(qwen) == "<|im_end|>" and not any("meant?" in line for line in check(qwen, template))
    with pytest.raises(InputError, match="which is no token of this tokenizer"):
        check(llama, template)
    path.write_text("{prompt}{completion}\n")
    with pytest.raises(InputError, match="expected the token that ends a completion"):
        load_template(str(path))


def test_characters_that_the_tokenizer_lacks_are_refused():
    """The laboratory's tokenizer drops them without a word, so a text would become another one."""
    from explore_rl.lab.tokenizer import build

    assert encode_completion("1+1", build())[-1] == build().eos_token_id
    with pytest.raises(InputError, match="a completion has what the tokenizer cannot write, at 'x"):
        encode_completion("1+x", build())
    with pytest.raises(InputError, match="problem 'q': the prompt has what the tokenizer cannot write, at 'What"):
        check_lengths([QUESTION], load_template("none"), tokenizer=build(), max_prompt_tokens=100)


def test_templates_of_ones_own(tmp_path, qwen):
    own = tmp_path / "own.txt"
    own.write_text("Task: {prompt}\nSolution:\n")
    assert (
        load_template(str(own)).render(QUESTION) == "Task: What is 1 + 1?\nSolution:"
    )  # an editor's last newline is none of the prompt's
    jinja = tmp_path / "own.jinja"
    jinja.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]")
    assert (
        load_template(str(jinja)).render(CONVERSATION, qwen) == "[system] Be brief.\n[user] What is 1 + 1?\n[assistant]"
    )


@pytest.mark.parametrize(
    "text, says",
    [
        ("no slot", r"holds 0 \{prompt\} slots"),
        ("{prompt} {prompt}", r"holds 2 \{prompt\} slots"),
        ("{{ question }}", "uses neither prompt nor messages"),
        ("{{ prompt }} {{ answer }}", "unknown variables answer"),
        ("{% for %}{{ prompt }}", "not Jinja"),
    ],
)
def test_templates_that_cannot_be_meant(tmp_path, text, says):
    (tmp_path / "t").write_text(text)
    with pytest.raises(InputError, match=says):
        load_template(str(tmp_path / "t"))


def test_names_that_are_none():
    with pytest.raises(InputError, match="neither a name .chat, .*, none, line. nor a readable text file"):
        load_template("qwen_boxed")


def test_conversations_need_the_chat_template(qwen, llama):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    problem = Problem(id="long", prompt=turns, answer="1", verifier="math")
    with pytest.raises(InputError, match="problem 'long': has 3 turns"):
        load_template("plain").render(problem)
    assert "assistant\nb<|im_end|>" in load_template("chat").render(problem, qwen)
    with pytest.raises(InputError, match="ends with the assistant's turn"):
        load_template("chat").render(Problem(id="x", prompt=turns[:2], answer="1", verifier="math"), qwen)
    with pytest.raises(InputError, match="problem 'c': the chat template does not take it: Only user and assistant"):
        load_template("chat").render(CONVERSATION, llama)


def test_hash_changes_with_what_the_model_sees(qwen, make_tokenizer):
    chat = load_template("chat")
    assert template_hash(chat, qwen) == template_hash(chat, make_tokenizer["qwen"]())
    assert template_hash(chat, qwen) != template_hash(chat, make_tokenizer["qwen"](CHATML_WITH_SYSTEM))
    assert (
        len({template_hash(load_template(name), qwen) for name in ("chat", "qwen-boxed", "r1", "plain", "none")}) == 5
    )
    assert template_hash(load_template("plain"), qwen) != template_hash(load_template("plain", end="<|im_end|>"), qwen)


CHATML_WITH_SYSTEM = "<|im_start|>system\nHi<|im_end|>\n{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


# --- the check --------------------------------------------------------------------------------------------------------


def test_check_is_silent_where_all_fits(make_tokenizer):
    tokenizer = make_tokenizer["qwen"](eos="<|im_end|>")
    config = Qwen2Config(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, max_position_embeddings=64)
    assert check(tokenizer, load_template("chat"), model_config=config, max_prompt_tokens=40, max_tokens=24) == []


def test_check_tells_of_end_tokens_that_differ(qwen):
    config = Qwen2Config(vocab_size=len(qwen), eos_token_id=qwen.eos_token_id)
    turn, stops = check(qwen, load_template("chat"), model_config=config)
    assert "'chat' ends turns with '<|im_end|>', the tokenizer's end token is '<|endoftext|>'" in turn
    assert f"not with '<|im_end|>' ({qwen.convert_tokens_to_ids('<|im_end|>')})" in stops


def test_check_tells_of_padding_that_is_the_end_token(qwen):
    assert any(
        "padding and end token are the same ('<|endoftext|>')" in line for line in check(qwen, load_template("plain"))
    )


def test_check_tells_of_a_turn_that_ends_otherwise_than_completions(qwen, tmp_path):
    (tmp_path / "t").write_text("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")
    assert any("is {completion}<|im_end|> meant?" in line for line in check(qwen, load_template(str(tmp_path / "t"))))
    assert not any("meant?" in line for line in check(qwen, load_template(str(tmp_path / "t"), end="<|im_end|>")))


def test_check_tells_of_a_missing_generation_prompt(make_tokenizer):
    bare = make_tokenizer["qwen"]("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", eos="<|im_end|>")
    assert check(bare, load_template("chat")) == [
        "the chat template adds no generation prompt: the model is not told that its turn begins"
    ]


def test_check_refuses_what_cannot_work(qwen, llama, make_tokenizer):
    with pytest.raises(InputError, match="the tokenizer has no chat template"):
        check(make_tokenizer["qwen"](chat_template=None), load_template("chat"))
    with pytest.raises(InputError, match="has no end token"):
        check(make_tokenizer["qwen"](eos=None), load_template("plain"))
    with pytest.raises(InputError, match=r"ends turns with '<\|im_end\|>', which is no token of this tokenizer"):
        check(llama, load_template("qwen-boxed"))
    with pytest.raises(InputError, match="do not belong together"):
        check(llama, load_template("plain"), model_config=LlamaConfig(vocab_size=10))
    with pytest.raises(InputError, match="may take 65 tokens, the model has 64 positions"):
        check(
            llama,
            load_template("plain"),
            model_config=LlamaConfig(vocab_size=1000, max_position_embeddings=64),
            max_prompt_tokens=60,
            max_tokens=5,
        )
    with pytest.raises(InputError, match="template 'chat' needs a tokenizer"):
        load_template("chat").render(QUESTION)


def test_check_refuses_a_begin_token_twice(make_tokenizer):
    twice = make_tokenizer["llama"]("{{ bos_token }}{{ bos_token }}{{ messages[0].content }}{{ eos_token }}")
    with pytest.raises(InputError, match="holds the begin token '<s>' 2 times"):
        check(twice, load_template("chat"))


def test_prompts_over_the_limit_are_counted_and_named(qwen):
    long = Problem(id="long", prompt="What is 1 + 1? " * 50, answer="2", verifier="math")
    template = load_template("none")
    length = len(template.encode(long, qwen))
    assert check_lengths([QUESTION, long], template, tokenizer=qwen, max_prompt_tokens=length) == length
    with pytest.raises(
        InputError,
        match=rf"1 prompts are longer than {length - 1} tokens \(the longest, problem 'long', has {length}\)",
    ):
        check_lengths([QUESTION, long], template, tokenizer=qwen, max_prompt_tokens=length - 1)


def test_a_tokenizer_whose_begin_token_has_two_names(make_tokenizer):
    """OpenLLaMA's files put <s> in front and call </s> the begin token: prompts still read as they were written."""
    tokenizer = make_tokenizer["llama"]()
    tokenizer.bos_token = "</s>"
    ids = load_template("none").encode(QUESTION, tokenizer)
    assert check_lengths([QUESTION], load_template("none"), tokenizer=tokenizer, max_prompt_tokens=100) == len(ids)
    assert ids[0] == tokenizer.convert_tokens_to_ids("<s>") and ids.count(ids[0]) == 1
