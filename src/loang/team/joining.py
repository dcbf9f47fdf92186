"""How the processes of a job find one another: what a launcher says, and torch does."""

import atexit
import datetime
import os

import torch
from torch import distributed as dist

from loang.errors import LoangError
from loang.team.aside import is_left
from loang.team.place import Place
from loang.team.pulse import PATIENCE, Pulse
from loang.team.team import ALONE, Team

JOINING = datetime.timedelta(minutes=10)
"""How long processes wait for one another at the start, and for a sum of all."""
WAITING = datetime.timedelta(days=30)
"""How long for the leader's word; whether it lives is another's care: pulse.py."""

_joined: Team | None = None


def join() -> Team:
    """The team of this process, as the environment says; itself, if it is alone.

    A second call gives the same team: a process can't leave one for another.

    Raises:
        LoangError: the others can't be reached, or the environment says what can't be.
    """
    global _joined
    place = Place.here()
    if place.size == 1:
        return ALONE
    if _joined is None:
        try:
            _joined = _join(place)
        except (RuntimeError, ValueError, KeyError) as error:
            raise LoangError(
                f"This is {place}, and it can't reach the others:"
                f" {str(error).partition(chr(10))[0]}.",
                "See that all are started, with the same MASTER_ADDR and MASTER_PORT: torchrun"
                " and accelerate launch do that.",
            ) from error
    return _joined


def is_joined() -> bool:
    """Whether this process has found the others of its job."""
    return _joined is not None


def _join(place: Place) -> Team:
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    if not dist.is_initialized():
        if gpus and place.gpu(seen := torch.cuda.device_count()) < seen:
            torch.cuda.set_device(place.gpu(seen))
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=JOINING)
        atexit.register(_part)
    control = dist.new_group(backend="gloo", timeout=WAITING)
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=JOINING,
        use_libuv=os.environ.get("USE_LIBUV", "0" if os.name == "nt" else "1") == "1",
    )
    store.set_timeout(PATIENCE)
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    pulse = Pulse(place, store, f"loang/{attempt}/")
    dist.barrier(group=control)  # everybody's first beat is there
    pulse.start()
    atexit.register(pulse.stop)
    return Team(place, control, pulse)


def _part() -> None:
    """At the end, all from all; but not where that waits for a sum that never comes, as NCCL's."""
    if not is_left() and not (_joined and _joined.torn):
        dist.destroy_process_group()
