"""Whether prompt, template and end token fit a tokenizer and a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import explore_rl.problems.chat_jinja as chat_jinja
from analysis.errors import InputError
from explore_rl.problems.template_tokens import first_special, refuse_lossy
from explore_rl.problems.templates import Template, apply_chat, as_messages
from explore_rl.real.families import END, VERIFIERS
from explore_rl.types import Problem


def check(
    tokenizer: Any,
    template: Template,
    *,
    model_config: Any = None,
    max_prompt_tokens: int | None = None,
    max_tokens: int = 0,
) -> list[str]:
    """Whether prompt, template and end token fit tokenizer and model.

    tokenizer: the model's.
    template: as prompts are written.
    model_config: the model's `transformers` config; None: its positions are not looked at.
    max_prompt_tokens: limit on prompts; with max_tokens it has to fit the model's positions. None: no limit.
    max_tokens: limit on new tokens.
    Returns warnings. Raises InputError for what cannot work.
    """
    end = template.end_token(tokenizer)
    end_id = template.end_id(tokenizer)
    sample = Problem(id="check", prompt="What is 1 + 1?", answer="2", verifier="math")
    rendered = template.render(sample, tokenizer)
    ids = template.encode(sample, tokenizer)
    warnings = []
    # where completions end
    if end != tokenizer.eos_token:
        warnings.append(
            f"template {template.name!r} ends turns with {end!r}, the tokenizer's end token is {tokenizer.eos_token!r}:"
            f" completions stop at, and traces end with, {end!r}"
        )
    if (turn_end := _turn_end(template, tokenizer)) not in (None, end):
        warnings.append(
            f"template {template.name!r} ends the user's turn with {turn_end!r}, completions with {end!r}: is "
            f"{{completion}}{turn_end} meant?"
        )
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == end_id:
        warnings.append(
            f"padding and end token are the same ({end!r}): harmless here, but code that masks padding by its id "
            f"loses the end token"
        )
    # where prompts begin
    begins = 0 if tokenizer.bos_token_id in (None, end_id) else ids.count(tokenizer.bos_token_id)
    if begins > 1:
        raise InputError(
            f"template {template.name!r}: the prompt holds the begin token {tokenizer.bos_token!r} {begins} times"
        )
    # what the template itself does
    warnings += _check_program(tokenizer, template)
    if template.is_chat:
        if begins == 0 and tokenizer.bos_token and tokenizer.bos_token_id != end_id and _puts_begin(tokenizer):
            warnings.append(
                f"the chat template writes no begin token ({tokenizer.bos_token!r}), which the tokenizer puts "
                f"before other texts: prompts have none"
            )
        bare = apply_chat(
            tokenizer,
            as_messages(sample.prompt, "check"),
            whose="check",
            add_generation_prompt=False,
            options=template.options,
        )
        if rendered == bare:
            warnings.append("the chat template adds no generation prompt: the model is not told that its turn begins")
        if "<think>" in rendered[-20:]:
            warnings.append("the chat template opens <think> in the prompt: completions begin inside it")
    elif tokenizer.chat_template and template.name in ("plain", "none"):
        warnings.append(
            f"the tokenizer has a chat template, which template {template.name!r} does not use (right for base models)"
        )
    if model_config is not None:
        warnings += _check_model(
            tokenizer,
            end,
            end_id=end_id,
            largest=max(ids),
            model_config=model_config,
            length=(max_prompt_tokens or 0) + max_tokens,
        )
    return warnings


def _check_program(tokenizer: Any, template: Template) -> list[str]:
    """Of a template that is a program: variables that it does not know, and what it writes that changes by the day."""
    text = str(tokenizer.chat_template) if template.is_chat else template.text if template.is_jinja else ""
    if not text:
        return []
    used = chat_jinja.variables(text)
    for key, _ in template.options:
        if key not in used:
            raise InputError(
                f"template {template.name!r}: it has no variable {key!r}; it uses {', '.join(sorted(used))}"
            )
    if "strftime_now" in used:
        return ["the template writes the date: prompts, and the template's hash, change from day to day"]
    return []


def _puts_begin(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id in list(tokenizer("a")["input_ids"])


def _check_model(tokenizer: Any, end: str, *, end_id: int, largest: int, model_config: Any, length: int) -> list[str]:
    config = model_config.get_text_config() if hasattr(model_config, "get_text_config") else model_config
    vocabulary = getattr(config, "vocab_size", None)
    positions = getattr(config, "max_position_embeddings", None)
    largest = max(end_id, largest)
    if vocabulary is not None and largest >= vocabulary:
        raise InputError(
            f"the tokenizer gives id {largest}, the model has a vocabulary of {vocabulary}: they do not belong together"
        )
    if positions is not None and length > positions:
        raise InputError(f"prompt and completion may take {length} tokens, the model has {positions} positions")
    warnings = []
    # Further tokens that were added, as for padding, are harmless where no text has them; a vocabulary is not.
    if vocabulary is not None and tokenizer.vocab_size > vocabulary:
        raise InputError(
            f"the tokenizer has a vocabulary of {tokenizer.vocab_size}, the model one of {vocabulary}: they do not"
            " belong together"
        )
    if vocabulary is not None and len(tokenizer) > vocabulary:
        warnings.append(
            f"the tokenizer has {len(tokenizer)} tokens, the model {vocabulary}: a text with one of the further "
            f"tokens fails"
        )
    stops = getattr(config, "eos_token_id", None)
    stops = stops if isinstance(stops, (list, tuple)) else [stops]
    if stops != [None] and end_id not in stops:
        warnings.append(
            f"the model's config ends texts with ids {list(stops)}, not with {end!r} ({end_id}): tools that rely "
            f"on it would not stop"
        )
    return warnings


def check_lengths(
    problems: Iterable[Problem],
    template: Template,
    *,
    tokenizer: Any,
    max_prompt_tokens: int,
    vocabulary: int | None = None,
) -> int:
    """Tokens of the longest prompt.

    Raises InputError where prompts are over the limit (they are never cut), or hold what is no token or one that the
    model does not have, and where answers would have to end otherwise than completions do.

    problems: all of them are read.
    template: as prompts are written.
    tokenizer: the model's.
    max_prompt_tokens: the limit.
    vocabulary: of the model; None: it is not looked at.
    """
    longest = 0
    whose = None
    over = 0
    for problem in problems:
        # Such a completion would never be right: found here, and not as a reward of 0 throughout.
        if problem.verifier in VERIFIERS and template.end_token(tokenizer) != END:
            raise InputError(
                f"problem {problem.id!r}: a right answer ends with a newline, completions of template {template.name!r}"
                f" with {template.end_token(tokenizer)!r}; the template of such problems is line (model.template=line,"
                " --template line)"
            )
        text = template.render(problem, tokenizer)
        ids = template.encode_text(text, tokenizer)
        # Special tokens are left out: a tokenizer may add some that the text does not have.
        refuse_lossy(
            text,
            tokenizer(text, add_special_tokens=False)["input_ids"],
            tokenizer=tokenizer,
            what=f"problem {problem.id!r}: the prompt",
        )
        if vocabulary is not None and max(ids, default=0) >= vocabulary:
            raise InputError(
                f"problem {problem.id!r}: its prompt has token {max(ids)}, the model has a vocabulary of {vocabulary}"
            )
        length = len(ids)
        over += length > max_prompt_tokens
        if length > longest:
            longest = length
            whose = problem.id
    # All prompts are read before any is refused: the message says how many, and what limit would do.
    if over:
        raise InputError(
            f"{over} prompts are longer than {max_prompt_tokens} tokens (the longest, problem {whose!r}, has "
            f"{longest}); raise"
            " model.max_prompt_tokens or leave them out with explore-rl problems --max-prompt-tokens"
        )
    return longest


def _turn_end(template: Template, tokenizer: Any) -> str | None:
    """The special token that a text template puts behind the question, if any."""
    return (
        None
        if template.is_chat or template.is_jinja
        else first_special(template.text.partition("{prompt}")[2], tokenizer)
    )
