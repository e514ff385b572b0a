"""explore-rl models list | get: small published models by name."""

from __future__ import annotations

import argparse

from explore_rl.fetching.catalogue import CATALOGUE, cache, place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl models list
  explore-rl models get smollm2-135m
  explore-rl train real/grpo model.path=smollm2-135m

A fetched model is kept in EXPLORE_RL_CACHE, else in explore-rl within XDG_CACHE_HOME or ~/.cache, and its name can be
given wherever a model is asked for."""
    commands = parser.add_subparsers(dest="models_command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="the known models, and which of them are here")
    get = commands.add_parser("get", help="fetch a model, convert it once and check it by hash")
    get.add_argument("name", help=f"one of {', '.join(CATALOGUE)}")


def run(args: argparse.Namespace) -> int:
    return {"list": _list, "get": _get}[args.models_command](args)


def _list(args: argparse.Namespace) -> int:
    print(f"kept in {cache() / 'models'}")
    for name, model in CATALOGUE.items():
        here = (place(name) / "config.json").is_file()
        state = "here" if here else f"not fetched ({model.download_mb} MB; {model.disk_mb} MB when kept)"
        print(f"{name:16} {model.parameters / 1e6:6.1f}M parameters  {model.licence:12} {state}")
        print(f"{'':16} {model.origin}")
    return 0


def _get(args: argparse.Namespace) -> int:
    from explore_rl.fetching.getting import get

    folder = get(args.name, lambda line: print(line, flush=True))
    print(f"{args.name}: {folder}, hash as expected; card: {folder / 'README.md'}")
    return 0
