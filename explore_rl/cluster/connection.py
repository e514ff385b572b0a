"""Ray itself: a cluster of this process's own, or one that is there already."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import ray
from ray._private import parameter, services
from ray._private.authentication import authentication_token_setup

from analysis.errors import InputError
from explore_rl.cluster.starts import count

CONNECT_TIMEOUT_S = 10.0


def connect(address: str, cpus: int | None) -> bool:
    """Returns True if a cluster was started or joined here, False if this process is connected already.

    Raises InputError for a cluster that does not answer or refuses this process.

    address: devices.ray_address; "local" starts a cluster here.
    cpus: what that cluster offers; None: as many as Ray counts.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would say each time that clusters are closed to strangers, which is the default.
    logging.getLogger(authentication_token_setup.__name__).setLevel(logging.ERROR)
    common: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        refuse_long_sockets()
        count("ray")
        try:
            # Ray would start idle workers ahead, which no actor with an environment of its own can use.
            quiet = {"prestart_worker_first_driver": False, "enable_worker_prestart": False}
            with _fewer_daemons():
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, _system_config=quiet, **common)
        except Exception as error:
            # Ray raises bare Exception where its daemons did not come up in half a minute.
            if type(error) is not Exception and not isinstance(error, (OSError, ValueError, RuntimeError)):
                raise
            raise InputError(
                f"devices.ray_address=local: Ray does not start here: {' '.join(str(error).split())[:300]}; its files "
                f"are in {ray_folder()} (RAY_TMPDIR, TMPDIR)"
            ) from error
        return True
    check_answers(address)
    # Ray takes the token by itself for clusters of its own only.
    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(address=address, **common)
    except ConnectionError as error:
        raise InputError(
            f"devices.ray_address={address}: the cluster refuses this process ({error}); "
            "every node needs the head's token (RAY_AUTH_TOKEN, or ~/.ray/auth_token) and the same versions of Python "
            "and Ray"
        ) from None
    return True


@contextmanager
def _fewer_daemons() -> Iterator[None]:
    """Ray starts without three processes that a cluster of this driver's own has no use for.

    They are the autoscaler's, the log monitor, which sends what actors print to a driver that asked not to get it, and
    the server of a dashboard that was not asked for. `ray start` has options for the first two, ray.init none.
    """
    params: Any = parameter.RayParams
    api_server = services.start_api_server
    cast(Any, parameter).RayParams = partial(params, no_monitor=True, include_log_monitor=False)
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        parameter.RayParams = params
        services.start_api_server = api_server


SOCKET_PATH = 107  # bytes that Linux takes for the name of a socket
SOCKET_BELOW = len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")


def ray_folder() -> str:
    """Where Ray puts its sessions, as it finds it itself."""
    return os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"


def refuse_long_sockets() -> None:
    """Raises InputError where Ray's folder is too deep for its sockets, as a job's scratch may be, or not writable."""
    folder = ray_folder()
    if len(os.fsencode(folder)) + SOCKET_BELOW > SOCKET_PATH:
        raise InputError(
            f"TMPDIR={folder}: too long a path for Ray's sockets ({SOCKET_PATH} bytes in all); set RAY_TMPDIR=/tmp"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"TMPDIR={folder}: Ray cannot write there; set RAY_TMPDIR to a folder that is there, as /tmp")


def check_answers(address: str) -> None:
    """Raises InputError where nobody listens: Ray itself would try for minutes."""
    try:
        host_and_port = services.canonicalize_bootstrap_address(address)  # what `auto` stands for
        if host_and_port is None:
            raise ConnectionError("no cluster was started on this machine")
        host, _, port = host_and_port.rpartition(":")
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"devices.ray_address={address}: no Ray cluster answers there ({error}); "
            "start one with scripts/launch_ray_cluster.sh, or set devices.ray_address=local"
        ) from None
