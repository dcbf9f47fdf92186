"""Which processes of a job still live: each says so every two seconds, and the leader listens.

What fails when a process dies says only that some connection was closed; and of a machine that is
gone nothing is said at all. This tells which one it was, and within a minute.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import psutil

from loang.team.place import Place

BEAT = 2.0
"""Seconds between two signs of life."""
SILENT = 6.0
"""Seconds without one, after which a process is held for lost where something has failed."""
GIVEN_UP = 40.0
"""Seconds without one, after which it is held for lost even so."""


@runtime_checkable
class Store(Protocol):
    """What of `torch.distributed.Store` is needed: values by key, that all processes see."""

    def set(self, key: str, value: str) -> None:
        """Keep a value."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """The values of these keys."""


class Pulse:
    """Says that this process lives, and listens to the others: the leader to all, they to it.

    Args:
        place: of this process.
        store: the job's, by a connection that nothing else uses.
        prefix: of its keys, another one for each attempt of a job.
    """

    def __init__(self, place: Place, store: Store, prefix: str) -> None:
        self.place = place
        self.store = store
        self.prefix = prefix
        heard = range(1, place.size) if place.rank == 0 else (0,)
        self._heard = {rank: ("", time.monotonic()) for rank in heard}
        self._who: dict[int, tuple[str, int]] = {}
        self._stop = threading.Event()
        self.on_silence: Callable[[list[str]], None] = _end
        """Called, in a thread, with the names of processes that are given up."""
        self._say(0)

    def start(self) -> None:
        """Begin; all processes have said something by now."""
        now = time.monotonic()
        self._heard = dict.fromkeys(self._heard, ("", now))
        threading.Thread(target=self._run, name="loang pulse", daemon=True).start()

    def stop(self) -> None:
        """No longer: the job is over."""
        self._stop.set()

    def lost(self, patience: float = 2 * SILENT) -> list[str]:
        """After something has failed: the names of the processes that are gone.

        Args:
            patience: seconds to wait until one is known to be.
        """
        end = time.monotonic() + patience
        while not (names := self._silent(SILENT)) and time.monotonic() < end:
            time.sleep(0.1)
        return names

    def _run(self) -> None:
        beat, before = 0, time.monotonic()
        while not self._stop.wait(BEAT):
            beat += 1
            try:
                self._say(beat)
                self._listen()
            except RuntimeError:  # the store is gone, and with it whoever kept it
                return
            now = time.monotonic()
            if now - before > 3 * BEAT:  # asleep itself: a laptop's lid, Ctrl-Z
                self._heard = {rank: (said, now) for rank, (said, _) in self._heard.items()}
            before = now
            if names := self._silent(GIVEN_UP):
                self.on_silence(names)

    def _say(self, beat: int) -> None:
        said = f"{beat} {os.getpid()} {socket.gethostname()}"
        self.store.set(f"{self.prefix}{self.place.rank}", said)

    def _listen(self) -> None:
        ranks = list(self._heard)
        now = time.monotonic()
        values = self.store.multi_get([f"{self.prefix}{rank}" for rank in ranks])
        for rank, value in zip(ranks, values, strict=True):
            said = value.decode()
            if said != self._heard[rank][0]:
                self._heard[rank] = said, now
                _, pid, host = said.split(" ", 2)
                self._who[rank] = host, int(pid)

    def _silent(self, seconds: float) -> list[str]:
        now = time.monotonic()
        return [
            self._name(rank)
            for rank, (_, heard) in self._heard.items()
            if now - heard > seconds or self._is_gone(rank)
        ]

    def _is_gone(self, rank: int) -> bool:
        """Whether a process of this machine has ended, whatever it said last."""
        host, pid = self._who.get(rank, ("", 0))
        if host != socket.gethostname():
            return False
        try:
            return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.Error:
            return True

    def _name(self, rank: int) -> str:
        host, pid = self._who.get(rank, ("an unknown machine", 0))
        return f"process {rank} of {self.place.size} (pid {pid} on {host})"


def _end(names: list[str]) -> None:
    """Whoever waits for such a process waits for ever, where no Python code can end it."""
    print(f"loang: Nothing is heard of {' and '.join(names)}. The job ends.", file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
