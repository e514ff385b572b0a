"""A GGUF file as an ordinary Hugging Face checkpoint: `python -m explore_rl.fetching.conversion FILE.gguf OUT`.

It runs in a process of its own: transformers looks for the package `gguf` once, when it is imported, and the package is
there for this process alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def convert(file: Path, out: Path) -> None:
    """Writes model and tokenizer, float32, to the folder `out`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # It is quantised no longer, and transformers refuses to save a model that says it is.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
