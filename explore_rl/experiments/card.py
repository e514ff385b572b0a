"""The model card of a trained or exported checkpoint: a folder that was copied still says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from explore_rl.config.loading import to_yaml
from explore_rl.config.schema import Config
from explore_rl.files import write_atomic


def write_card(model: Path, config: Config, *, found: Sequence[str], step: int | None = None) -> None:
    """Writes README.md into a Hugging Face checkpoint.

    model: its folder.
    config: that of the run it comes from.
    found: lines on what was measured; may be empty.
    step: after how many steps; None: at the run's end.
    """
    after = f"{step} of {config.run.steps}" if step is not None else str(config.run.steps)
    measured = "\n".join(f"- {line}" for line in found) or "Nothing was measured on the way."
    # What the hub reads. Only a name with a slash can be a model of the hub.
    head = {
        "base_model": config.model.path if "/" in config.model.path else None,
        "library_name": "transformers",
        "tags": ["explore-rl", "rlvr", config.name],
    }
    listed = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items() if value is not None)
    write_atomic(
        model / "README.md",
        f"""---
{listed}
---

# {config.name}, seed {config.seed}

`{config.model.path}` after {after} steps of explore-rl on `{config.problems.train}`. Prompts were written with the
template `{config.model.template}`, completions drawn at temperature {config.rollout.temperature:g} with at most
{config.rollout.max_new_tokens} tokens: use the same to get what is measured below.

## Measured during training

{measured}

## Settings

```yaml
{to_yaml(config).rstrip()}
```
""",
    )
