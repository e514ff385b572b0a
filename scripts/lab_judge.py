"""A small judge for the laboratory's worked evaluations, and a server for it: what configs/lab/soft_judge.yaml asks.

    python scripts/lab_judge.py --out runs/judge                  trains it, some minutes on one core, and serves it
    explore-rl train lab/soft_judge                               in another shell

It reads "CHAIN:VALUE=" and says 1 or 0: whether the chain's last number is the value. Trained on chains over random
numbers, whole and begun, true and with another end, beside their value and beside others; none of the base's draws. How
many held-out ones it is right on is printed. The server speaks as much of the chat-completions protocol as a judge
needs.
"""

from __future__ import annotations

import argparse
import http.server
import json
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from explore_rl.lab import base, tokenizer, worked

RECIPE = base.Recipe(hidden_size=64, layers=2, context=96)
TEMPLATE = "{response}:{reference}="  # the recipe has it too
HELD_OUT = 2000


def examples(seed: int) -> Iterator[tuple[str, str]]:
    """Endless ("CHAIN:VALUE=", "1" or "0") pairs, half of each.

    Whether the last step is true tells nothing: right ones may end in a false one, and wrong ones in a true one whose
    result is another number, as most of a policy's do. A judge that sees no such pair takes any chain for right that is
    whole and true.
    """
    rng = random.Random(seed)
    while True:
        steps = worked.random_chain([rng.randint(1, 12) for _ in range(4)], dict.fromkeys("+-*/", 1.0), rng=rng)
        end = steps[-1].result
        if not 0 < end <= 100:
            continue
        chain = " ".join(map(str, steps[rng.choice((0, 0, 0, 1, 2)) :]))
        other = rng.choice((end + rng.randint(1, 9), max(0, end - rng.randint(1, 9)), rng.randint(0, 100)))
        with_other = chain[: chain.rindex("=") + 1] + str(other)
        beginning = chain[: rng.randrange(len(chain))]
        right = rng.random() < 0.5
        if right:
            text, value = rng.choice(((chain, end), (chain, end), (with_other, other)))
        else:
            text, value = rng.choice(((chain, other), (with_other, end), (beginning, end)))
        # By what it ends with: the other number may be the value after all.
        if (text.rpartition("=")[2] == str(value)) == right:
            yield f"{text}:{value}=", "1" if right else "0"


def train(folder: Path, *, steps: int, batch_size: int) -> None:
    codes = tokenizer.build(RECIPE.context)
    model = base.new_model(RECIPE, codes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    stream = examples(0)
    for step in range(steps):
        tokens, labels = base.batch_of([next(stream) for _ in range(batch_size)], codes)
        logits = model(tokens, use_cache=False).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.4f} nats a token", flush=True)
    base.save(model.eval(), codes, folder=folder, texts={})


class Judge:
    """The trained judge. `chances`: of its next token, by the token's text."""

    def __init__(self, folder: Path):
        self.codes: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.lock = threading.Lock()

    @torch.inference_mode()
    def logprobs(self, text: str) -> dict[str, float]:
        tokens = torch.tensor([self.codes(text).input_ids[-RECIPE.context :] or [0]])
        with self.lock:
            logits = self.model(tokens, use_cache=False).logits[0, -1]
        return dict(zip(tokenizer.CHARACTERS, torch.log_softmax(logits, -1).tolist(), strict=False))

    def agreement(self) -> float:
        """Share of held-out examples on which it is on the right side of one half."""
        stream = examples(1)
        right = 0
        for text, label in (next(stream) for _ in range(HELD_OUT)):
            said = self.logprobs(text)
            right += (said["1"] > said["0"]) == (label == "1")
        return right / HELD_OUT


def serve(judge: Judge, *, port: int) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = judge.logprobs(body["messages"][-1]["content"])
            first = [{"token": token, "logprob": value} for token, value in said.items()]
            choice = {"message": {"content": max(said, key=said.__getitem__)}, "finish_reason": "length"}
            text = json.dumps({"choices": [choice | {"logprobs": {"content": [{"top_logprobs": first}]}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print(f"serving at http://127.0.0.1:{port}/v1; Ctrl-C ends it", flush=True)
    server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/judge"), help="where the judge is, or will be")
    parser.add_argument("--port", type=int, default=8137)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not (args.out / "config.json").exists():
        args.out.parent.mkdir(parents=True, exist_ok=True)
        train(args.out, steps=args.steps, batch_size=args.batch_size)
    judge = Judge(args.out)
    print(f"right on {judge.agreement():.4f} of {HELD_OUT} held-out examples", flush=True)
    serve(judge, port=args.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
