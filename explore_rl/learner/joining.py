"""How the processes of a learner become ranks of one group."""

from __future__ import annotations

import datetime
import logging
import os
import socket
from typing import Any, cast

import torch.distributed as dist

from explore_rl.learner import device


def join(
    index: int,
    *,
    ranks: int,
    kind: str,
    address: str,
    port: int,
    timeout_s: float,
    listening: socket.socket | None = None,
) -> None:
    """Joins the other ranks; rank 0 listens at address:port.

    A partner that stays away, or falls silent later, ends the wait after timeout_s.

    index: this rank's number.
    ranks: how many there are.
    kind: "cpu" or "cuda".
    address: of rank 0.
    port: of rank 0.
    timeout_s: of every wait for a partner.
    listening: rank 0's socket, bound to the port.
    """
    os.environ.update(
        RANK=str(index),
        LOCAL_RANK="0",  # each rank sees its own device only, so it is the first one there
        WORLD_SIZE=str(ranks),
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
    )
    import deepspeed
    import transformers

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    if kind == "cpu":
        device.without_compiled_collectives()
        device.name_interface(address)
    timeout = datetime.timedelta(seconds=timeout_s)
    store = cast(Any, dist).TCPStore(  # torch does not name it as public, and documents it
        address,
        port,
        ranks,
        is_master=index == 0,
        timeout=timeout,
        master_listen_fd=listening.detach() if listening is not None else None,
    )
    backend = device.distributed_backend(kind)
    dist.init_process_group(backend, store=store, rank=index, world_size=ranks, timeout=timeout)
    deepspeed.init_distributed(backend, verbose=False, timeout=timeout)  # finds the group, and takes it
