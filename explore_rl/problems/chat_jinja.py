"""Jinja files rendered as transformers renders a tokenizer's chat template: its environment, variables and functions.

So a published `chat_template.jinja` can be edited and used, and gives the same prompt as the tokenizer would give with
it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# what transformers defines in every chat template
KNOWN = {"messages", "add_generation_prompt", "tools", "documents", "raise_exception", "strftime_now", *SPECIAL_TOKENS}


class _Generation(Extension):
    """{% generation %} ... {% endgeneration %} marks the assistant's text for training masks; for reading it is its
    body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=64)
def variables(text: str) -> frozenset[str]:
    """The names that a template asks for. Raises jinja2.TemplateError."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    return frozenset(meta.find_undeclared_variables(environment.parse(text)))


def render(text: str, messages: list[dict[str, str]], *, tokenizer: Any, given: dict[str, Any]) -> str:
    """The prompt up to where the assistant begins. Raises jinja2.TemplateError, TypeError or ValueError.

    text: the template.
    messages: {"role", "content"} each, the assistant's turn left out.
    tokenizer: gives its special tokens as variables.
    given: further variables, which win over those.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    tokens: dict[str, Any] = {name: getattr(tokenizer, name, None) or "" for name in ("bos_token", "eos_token")}
    tokens |= dict(getattr(tokenizer, "special_tokens_map", None) or {})
    rendered, _ = render_jinja_template([messages], chat_template=text, add_generation_prompt=True, **(tokens | given))
    return rendered[0]
