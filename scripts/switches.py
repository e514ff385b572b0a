"""Switching off parts of the math verifier, one at a time, and seeing on which answers a part acts."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

NEVER = re.compile(r"(?!)(x)?(x)?")  # matches nothing, and has the groups that replacements name
MODULES = [
    importlib.import_module(f"explore_rl.verifiers.{name}")
    for name in (
        "extract", "statement", "math", "math_brackets", "math_dress", "math_equal", "math_expressions", "math_forms",
        "math_keys", "math_labels", "math_matrices", "math_numbers", "math_phrases", "math_same", "math_scalars",
        "math_sets", "math_several", "math_single", "math_stated", "math_unit_names", "math_units",
    )
]  # fmt: skip
Change = Callable[[ExitStack], None]


@dataclass(frozen=True)
class Switch:
    """How a part is switched off.

    off: switches it off until the stack closes.
    watch: makes it call its argument whenever it acts, so that only the items on which it acts need to be judged
        again; None: that cannot be seen, and all are.
    """

    off: Change
    watch: Callable[[Callable[[], None]], Change] | None = None


@dataclass(frozen=True)
class Ablation:
    """One part of the verifier that can be switched off.

    group: its row in the short table.
    """

    group: str
    name: str
    switch: Switch


# --- switching off ---------------------------------------------------------------------------------------------------


def put(owner: ModuleType, name: str, new: Any) -> Change:
    """Another value under this name, in every module that imports it."""

    def change(stack: ExitStack) -> None:
        old = getattr(owner, name)
        for module in MODULES:
            if getattr(module, name, None) is old:
                setattr(module, name, new)
                stack.callback(setattr, module, name, old)

    return change


def value(owner: ModuleType, name: str, new: Any) -> Switch:
    return Switch(put(owner, name, new))


def never(owner: ModuleType, *names: str) -> Switch:
    """Patterns that match nothing."""

    def watch(acts: Callable[[], None]) -> Change:
        return every(*(put(owner, name, Watched(getattr(owner, name), acts)) for name in names))

    return Switch(every(*(put(owner, name, NEVER) for name in names)), watch)


def function(owner: ModuleType, name: str, new: Callable) -> Switch:
    """Another function; this one acts where the two differ."""

    def watch(acts: Callable[[], None]) -> Change:
        def change(stack: ExitStack) -> None:
            inner = getattr(owner, name)  # which may be watched for another part already

            def both(*args: Any, **kwargs: Any) -> Any:
                found = inner(*args, **kwargs)
                if found != new(*args, **kwargs):
                    acts()
                return found

            both.cache_clear = getattr(inner, "cache_clear", lambda: None)
            put(owner, name, both)(stack)

        return change

    return Switch(put(owner, name, new), watch)


def gives(owner: ModuleType, name: str, result: Any = None) -> Switch:
    """A function that gives the same whatever it is asked."""
    return function(owner, name, lambda *_, **__: result)


def same_back(owner: ModuleType, name: str) -> Switch:
    """A function that gives its first argument back."""
    return function(owner, name, lambda first, *_, **__: first)


def without(table: Any, entry: Any = None, *, read_by: Switch | None = None) -> Switch:
    """A table without an entry, or empty. read_by: what reads it, so it acts at most where that does."""

    def off(stack: ExitStack) -> None:
        kept(table, stack)
        if entry is None:
            table.clear()
        elif isinstance(table, dict):
            del table[entry]
        else:
            table.remove(entry)

    return Switch(off, read_by.watch if read_by else None)


def without_rule(table: list[tuple[Any, Any]], rule: tuple[re.Pattern, Any]) -> Switch:
    def watch(acts: Callable[[], None]) -> Change:
        def change(stack: ExitStack) -> None:
            kept(table, stack)
            table[table.index(rule)] = (Watched(rule[0], acts), rule[1])

        return change

    return Switch(without(table, rule).off, watch)


def without_lines(table: list[tuple[tuple, tuple, Callable]], lines: list[tuple]) -> Switch:
    """ACROSS without some of its rules; a rule acts where it finds two values equal."""

    def watch(acts: Callable[[], None]) -> Change:
        def change(stack: ExitStack) -> None:
            kept(table, stack)
            for line in lines:
                if line in table:
                    table[table.index(line)] = (*line[:2], told(line[2], acts))

        return change

    return Switch(every(*(without(table, line).off for line in lines if line in table)), watch)


def told(rule: Callable, acts: Callable[[], None]) -> Callable:
    def judged(*args: Any) -> bool:
        found = rule(*args)
        if found:
            acts()
        return found

    return judged


def kept(table: Any, stack: ExitStack) -> None:
    """Puts a table back as it was, when the stack closes."""
    old = table.copy()

    def back() -> None:
        table.clear()
        table.update(old) if hasattr(table, "update") else table.extend(old)

    stack.callback(back)


def every(*changes: Change) -> Change:
    def change(stack: ExitStack) -> None:
        for one in changes:
            one(stack)

    return change


class Watched:
    """A pattern that says when it matches."""

    def __init__(self, pattern: Any, acts: Callable[[], None]):
        self.wrapped, self.acts, self.pattern = pattern, acts, pattern.pattern

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.wrapped, name)

        def asked(*args: Any, **kwargs: Any) -> Any:
            found: Any = method(*args, **kwargs)
            text = args[-1] if name in ("sub", "subn") else args[0]
            if name == "finditer":
                found = list(found)
            said = found[0] if name == "subn" else found
            if said != text and said not in (None, [], [text]):
                self.acts()
            return iter(found) if name == "finditer" else found

        return asked


@contextmanager
def changed(change: Change, keep: set[Any]) -> Iterator[None]:
    """keep: caches that the change does not touch."""
    with ExitStack() as stack:
        change(stack)
        forget(keep)
        yield
    forget(keep)


def forget(keep: set[Any]) -> None:
    for module in MODULES:
        for found in vars(module).values():
            if hasattr(found, "cache_clear") and found not in keep:
                found.cache_clear()
