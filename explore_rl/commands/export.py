"""explore-rl export: any checkpoint of a run as a Hugging Face folder, for vLLM, transformers, lm-eval or a new run."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl export runs/grpo-seed0@50 models/after50
  explore-rl export runs/grpo-seed0 models/final --push-to-hub me/grpo-countdown
  vllm serve models/after50

Weights, config, tokenizer and a model card. Of every ZeRO stage; needs neither Ray nor a GPU."""
    parser.add_argument("model", metavar="RUN[@STEP]", help="a run's folder, its final model, or a checkpoint of it")
    parser.add_argument("out", type=Path, metavar="DIR", help="the folder to write; must not be there yet")
    parser.add_argument("--push-to-hub", metavar="NAME", help="also upload it, as OWNER/NAME, with your own login")
    parser.add_argument("--private", action="store_true", help="with --push-to-hub: nobody else sees it")


def run(args: argparse.Namespace) -> int:
    from analysis.errors import InputError
    from explore_rl.experiments.run_models import export_checkpoint, run_model

    model = run_model(args.model)
    if model is None:
        raise InputError(f"{args.model}: no run's folder; expected RUN or RUN@STEP")
    if args.push_to_hub and args.push_to_hub.count("/") != 1:
        raise InputError(f"--push-to-hub {args.push_to_hub}: expected OWNER/NAME")
    if not args.out.exists():  # a card alone is made anew where an upload failed
        export_checkpoint(model, args.out)
    elif not args.push_to_hub:
        raise InputError(f"{args.out}: is there already; choose another folder, or remove it")
    print(f"{args.out}: {args.model}, a Hugging Face checkpoint")
    if args.push_to_hub:
        print(f"uploaded: {push(args.out, args.push_to_hub, private=args.private)}")
    return 0


def push(folder: Path, name: str, *, private: bool) -> str:
    """Uploads a folder to the Hub, or to what HF_ENDPOINT names. Returns its address. Raises InputError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from analysis.errors import InputError

    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=name, commit_message="exported by explore-rl")
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"--push-to-hub {name}: {said}; is there a login (hf auth login)?") from None
    return str(address)
