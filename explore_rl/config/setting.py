"""A setting: its default, what it does, and which values are right, said once, where the field stands."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is known of one field of the configuration.

    default: its value where nobody gives another.
    doc: what it does, one line.
    choices: the values it may have, if they are few.
    least, most: the smallest and the largest number it may be.
    above, below: a number that it may only come near, from above or from below.
    why: the reason for a bound, where the number alone does not say it.
    device: "cpu" or "cuda" where it acts on that device only.
    example: a right value as it is typed, where the default is none.
    harmless: whether a resumed run may have another value (with --allow-changed): it changes how long the run takes, or
        how it is watched, and not what it learns but for rounding.
    """

    default: Any
    doc: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""
    device: str | None = None
    example: str = ""
    harmless: bool = False

    @property
    def allowed(self) -> str:
        """The right values in words; empty where the type says all."""
        if self.choices:
            return " | ".join(map(str, self.choices))
        bounds = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(
            f"{words} {bound if isinstance(bound, int) else f'{bound:g}'}"
            for words, bound in bounds.items()
            if bound is not None
        )

    def allows(self, value: Any) -> bool:
        """Whether every number in `value` keeps within the bounds; one that is not set (None) does."""
        numbers = value if isinstance(value, list) else [value]
        return all(self._within(number) for number in numbers if isinstance(number, int | float))

    def _within(self, number: float) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )


def setting(default: Any, doc: str, **known: Any) -> Any:
    """A dataclass field with its `Setting`. known: choices, bounds, why, device; see `Setting`.

    >>> @dataclass
    ... class Ranks:
    ...     ranks: int = setting(1, "DeepSpeed ranks", least=1)
    >>> Ranks().ranks
    1
    >>> dict(settings_of(Ranks))["ranks"].allowed
    'at least 1'
    """
    described = {"setting": Setting(default, doc, **known)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=described)
    return field(default=default, metadata=described)


def settings_of(schema: type, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Dotted name and Setting of every field of a dataclass and of its sections, in their order."""
    for one in fields(schema):
        if isinstance(one.default_factory, type) and is_dataclass(one.default_factory):
            yield from settings_of(one.default_factory, f"{prefix}{one.name}.")
        else:
            yield prefix + one.name, one.metadata["setting"]
