"""A part of each group that is drawn in another way than the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from explore_rl.types import Request


def draw_last_otherwise(
    requests: list[Request], share: float, *, size: int | None = None, changes: dict[str, Any]
) -> list[Request]:
    """The last of the policy's draws of each group with `changes` made to their requests; the others as they are.

    requests: the step's, of all groups.
    share: how many, of the policy's draws of the group, or of `size` where it is given; rounded down.
    size: of a group; None: as many as the policy draws.
    changes: fields of Request, with their new values.
    """
    own: dict[int, list[int]] = {}  # group -> places of the policy's draws; a greedy one is none
    for place, request in enumerate(requests):
        if request.source == "policy" and request.temperature:
            own.setdefault(request.group, []).append(place)
    planned = list(requests)
    for places in own.values():
        count = int(share * (len(places) if size is None else size))
        for place in places[max(0, len(places) - count) :]:
            planned[place] = replace(planned[place], **changes)
    return planned
