"""Prompt templates: what text the model is given for a problem, and with which token a completion ends.

Three things have to fit for a base model to learn anything: the prompt's form, the token at which generation stops, and
the token that traces end with. A Template holds all three, and `check` says where they do not fit a tokenizer or model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

import explore_rl.problems.chat_jinja as chat_jinja
from analysis.errors import InputError
from explore_rl.problems.template_tokens import continuation, first_special, refuse_lossy
from explore_rl.types import Problem

QWEN_BOXED = (
    "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
    "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
)
# DeepSeek-R1 (2025), Table 1: the template of R1-Zero, the question ended by a newline instead of a second full stop
R1 = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the"
    " reasoning process in the mind and then provides the user with the answer. The reasoning process and answer "
    "are enclosed within"
    " <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> answer here </answer>."
    " User: {prompt}\nAssistant:"
)
PLAIN = "Question: {prompt}\nAnswer:"


@dataclass(frozen=True)
class Template:
    """How a problem becomes a prompt, and how a completion ends.

    name: as the user gave it.
    text: "" for the tokenizer's own chat template; else text with a {prompt} slot, or a Jinja template.
    end: the token that ends a completion. None: for chat, the token with which the chat template ends the assistant's
    turns; for the others, the tokenizer's end token.
    keeps_system: whether a problem's system message goes before its question; templates that give an instruction of
    their own leave it out.
    options: variables that a Jinja template is given, such as enable_thinking.
    """

    name: str
    text: str
    end: str | None = None
    keeps_system: bool = True
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def is_chat(self) -> bool:
        return not self.text

    @property
    def is_jinja(self) -> bool:
        return "{{" in self.text or "{%" in self.text

    def render(self, problem: Problem | str, tokenizer: Any = None) -> str:
        """The prompt as text. A chat template needs the tokenizer. Raises InputError, naming the problem, where the two
        do not fit."""
        prompt, whose = (problem, "prompt") if isinstance(problem, str) else (problem.prompt, f"problem {problem.id!r}")
        if self.is_chat:
            return apply_chat(tokenizer, as_messages(prompt, whose), whose=whose, options=self.options)
        if self.is_jinja:
            return _apply_jinja(self, prompt, tokenizer=tokenizer, whose=whose)
        return self.text.replace("{prompt}", _as_text(prompt, whose, template=self))

    def encode(self, problem: Problem | str, tokenizer: Any) -> list[int]:
        """Token ids of the prompt: the begin token once, if the tokenizer or the template puts one, and no end token
        added behind."""
        return self.encode_text(self.render(problem, tokenizer), tokenizer)

    def encode_text(self, text: str, tokenizer: Any) -> list[int]:
        """`encode`, of a prompt that is rendered already."""
        bare = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if not bare:
            raise InputError(f"template {self.name!r}: a prompt without tokens")
        if self.is_chat or (tokenizer.bos_token and text.startswith(tokenizer.bos_token)):
            return bare  # the template writes its special tokens itself
        full = list(tokenizer(text)["input_ids"])
        for begins in range(len(full) - len(bare) + 1):
            if full[begins : begins + len(bare)] == bare:
                return full[: begins + len(bare)]
        return full

    def end_token(self, tokenizer: Any) -> str:
        """The token that ends a completion: generation stops at it and traces end with it. Raises InputError where
        there is none."""
        end = (
            self.end
            or (_chat_end(tokenizer, str(tokenizer.chat_template)) if self.is_chat else None)
            or tokenizer.eos_token
        )
        if not end:
            raise InputError(
                f"template {self.name!r}: the tokenizer has no end token (eos_token): no completion could ever end"
            )
        return end

    def end_id(self, tokenizer: Any) -> int:
        """Id of the end token. Raises InputError if the tokenizer does not know it as one token."""
        end = self.end_token(tokenizer)
        token_id = tokenizer.convert_tokens_to_ids(end)
        if end.isspace():  # byte-level tokenizers have names of their own for white space
            ids = list(tokenizer(end, add_special_tokens=False)["input_ids"])
            token_id = ids[0] if len(ids) == 1 and tokenizer.decode(ids) == end else None
        elif token_id is not None and tokenizer.convert_ids_to_tokens(token_id) != end:
            token_id = None
        if token_id is None:
            raise InputError(
                f"template {self.name!r} ends turns with {end!r}, which is no token of this tokenizer (its end token is"
                f" {tokenizer.eos_token!r}); use chat, plain or none, or a template of your own"
            )
        return token_id

    def encode_completion(self, text: str, tokenizer: Any) -> list[int]:
        """Token ids of a completion as the policy would have to write it, the end token last. For traces; samples keep
        their own ids.

        Raises InputError where the tokenizer cannot write the text, or where the text holds the end token in its midst.
        """
        end = self.end_id(tokenizer)
        text = text.removesuffix(self.end_token(tokenizer))
        ids = continuation(text, tokenizer)
        if end in ids:
            raise InputError(
                f"a completion holds the end token {self.end_token(tokenizer)!r} before its end: {text[:60]!r}"
            )
        refuse_lossy(text, ids, tokenizer=tokenizer, what="a completion")
        return [*ids, end]


NAMED = {
    "chat": Template("chat", ""),
    "qwen-boxed": Template("qwen-boxed", QWEN_BOXED, end="<|im_end|>", keeps_system=False),
    "r1": Template("r1", R1, keeps_system=False),
    "plain": Template("plain", PLAIN),
    "none": Template("none", "{prompt}"),
    "line": Template("line", "{prompt}", end="\n"),
}


def load_template(name: str, end: str | None = None) -> Template:
    """A template by name (one of NAMED), or from a file: text with a {prompt} slot, or Jinja.

    In Jinja there are prompt (text) and what transformers gives a chat template: messages, add_generation_prompt, the
    special tokens, raise_exception, strftime_now. A file may go on with {completion} and the token that ends one:
    "{prompt}<|im_end|>...{completion}<|im_end|>". A newline at the very end of the file is left out (editors add one).
    "chat?enable_thinking=false" gives a chat template (or a Jinja file) variables of its own; values are JSON or text.
    end: replaces the token that ends a completion. Raises InputError.
    """
    base, mark, query = name.partition("?")
    if not mark or Path(name).is_file():
        base = name
        query = ""
    template = NAMED[base] if base in NAMED else _read_template(base)
    if query:
        if not (template.is_chat or template.is_jinja):
            raise InputError(f"template {name!r}: only chat and Jinja templates take variables")
        template = replace(template, name=name, options=_options(name, query))
    return replace(template, end=end) if end is not None else template


_WORDS = {"true": True, "false": False, "none": None, "null": None}


def _options(name: str, query: str) -> tuple[tuple[str, Any], ...]:
    options = {}
    for part in query.split("&"):
        key, equals, text = part.partition("=")
        if not equals or not key.isidentifier():
            raise InputError(f"template {name!r}: expected NAME=VALUE behind the question mark, got {part!r}")
        try:
            # Python's True and False would be text, which is true
            options[key] = _WORDS[text.lower()] if text.lower() in _WORDS else json.loads(text)
        except ValueError:
            options[key] = text
    return tuple(sorted(options.items()))


def template_hash(template: Template, tokenizer: Any = None) -> str:
    """12 hex digits that change whenever the prompts would: of the text (for chat: the tokenizer's template), the end
    token, and, where the template is a program, of what it renders now (a template may write the date)."""
    text = str(tokenizer.chat_template) if template.is_chat and tokenizer is not None else template.text
    end = template.end_token(tokenizer) if tokenizer is not None else template.end
    parts = [text, end, template.keeps_system]
    if (template.is_chat and tokenizer is not None) or template.is_jinja:
        parts += [template.options, _probes(template, tokenizer)]
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:12]


def _probes(template: Template, tokenizer: Any) -> list[str]:
    """What the template makes of a few conversations, or why it refuses them."""
    question = {"role": "user", "content": "What is 1 + 1?"}
    system = {"role": "system", "content": "Be brief."}
    found = []
    for messages in ([question], [system, question]):
        try:
            found.append(template.render(Problem("probe", messages, "2", "math"), tokenizer))
        except InputError as error:
            found.append(f"refused: {error}")
    return found


def encode_completion(text: str, tokenizer: Any, *, template: Template = NAMED["none"]) -> list[int]:
    """`template.encode_completion`; without a template the tokenizer's own end token ends the completion."""
    return template.encode_completion(text, tokenizer)


# --- parts ------------------------------------------------------------------------------------------------------------


def _read_template(name: str) -> Template:
    try:
        text = Path(name).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        raise InputError(
            f"template {name!r}: neither a name ({', '.join(NAMED)}) nor a readable text file: {error}"
        ) from None
    text, slot, end = text.removesuffix("\n").partition("{completion}")
    if slot and not end.strip():
        raise InputError(f"template {name!r}: expected the token that ends a completion behind {{completion}}")
    template = Template(name, text, end=end.strip() or None)
    if template.is_jinja:
        try:
            used = chat_jinja.variables(text)
        except TemplateError as error:
            raise InputError(f"template {name!r}: not Jinja: {error}") from None
        if not used & {"prompt", "messages"}:
            raise InputError(
                f"template {name!r}: uses neither prompt nor messages, so every problem would look the same"
            )
        # a published chat template asks for many things and does without most of them; one with a prompt is the user's
        # own
        if "prompt" in used and (unknown := used - chat_jinja.KNOWN - {"prompt"}):
            listed = ", ".join(sorted(unknown))
            known = ", ".join(["prompt", *sorted(chat_jinja.KNOWN)])
            raise InputError(f"template {name!r}: unknown variables {listed}; there are {known}")
    elif text.count("{prompt}") != 1:
        raise InputError(f"template {name!r}: holds {text.count('{prompt}')} {{prompt}} slots; expected one")
    return template


def as_messages(prompt: str | list[dict[str, str]], whose: str) -> list[dict[str, str]]:
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if messages[-1]["role"] == "assistant":
        raise InputError(f"{whose}: ends with the assistant's turn; a prompt has to end before it")
    return messages


def _as_text(prompt: str | list[dict[str, str]], whose: str, *, template: Template) -> str:
    if isinstance(prompt, str):
        return prompt
    system = [message["content"] for message in prompt if message["role"] in ("system", "developer")]
    turns = [message for message in prompt if message["role"] not in ("system", "developer")]
    if len(turns) != 1 or turns[0]["role"] != "user":
        raise InputError(
            f"{whose}: has {len(turns)} turns; template {template.name!r} takes one message of the user (chat: any)"
        )
    return "\n\n".join([*system, turns[0]["content"]] if template.keeps_system else [turns[0]["content"]])


def apply_chat(
    tokenizer: Any,
    messages: list[dict[str, str]],
    *,
    whose: str,
    add_generation_prompt: bool = True,
    options: tuple[tuple[str, Any], ...] = (),
) -> str:
    """Messages by the tokenizer's own chat template, as text.

    tokenizer: one with a chat template, as Hugging Face has them.
    messages: {"role", "content"} each.
    whose: the problem or place they are from, for errors.
    add_generation_prompt: whether the assistant's turn is opened at the end.
    options: further variables of the template.
    Raises InputError where the template is missing or does not take the messages.
    """
    if tokenizer is None:
        raise InputError("template 'chat' needs a tokenizer: it is the tokenizer's own chat template")
    if not tokenizer.chat_template:
        raise InputError(
            "template 'chat': the tokenizer has no chat template (a base model?); use plain, r1, none, or a file "
            "of your own"
        )
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt, **dict(options)
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise InputError(f"{whose}: the chat template does not take it: {' '.join(str(error).split())}") from None


def _apply_jinja(template: Template, prompt: str | list[dict[str, str]], *, tokenizer: Any, whose: str) -> str:
    messages = as_messages(prompt, whose)
    given = dict(template.options)
    if "prompt" in chat_jinja.variables(template.text):
        given["prompt"] = _as_text(prompt, whose, template=template)
    try:
        return chat_jinja.render(template.text, messages, tokenizer=tokenizer, given=given)
    except (TemplateError, TypeError, ValueError) as error:
        raise InputError(f"{whose}: template {template.name!r}: {' '.join(str(error).split())}") from None


@lru_cache(maxsize=16)
def _chat_end(tokenizer: Any, chat_template: str) -> str | None:
    """The special token behind an assistant's turn. chat_template is only there so that the cache sees a change of
    it."""
    mark = "a reply that ends here"
    messages = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": mark}]
    rendered = apply_chat(tokenizer, messages, whose="a conversation", add_generation_prompt=False)
    return first_special(rendered.partition(mark)[2], tokenizer)
