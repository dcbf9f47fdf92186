"""Which processes of a job still live: each says so every two seconds, and the leader listens.

What fails when a process dies says only that some connection was closed; and of a machine that is
gone nothing is said at all. This tells which one it was, and within a minute. It tells, too, that
the leader wants no more of the others, wherever they wait just now.
"""

import contextlib
import datetime
import os
import socket
import threading
import time
from typing import Protocol, runtime_checkable

import psutil

from loang.team.place import Place

BEAT = 2.0
"""Seconds between two signs of life."""
SILENT = 6.0
"""Seconds without one, after which a process is held for lost where something has failed."""
GIVEN_UP = 40.0
"""Seconds without one, after which it is held for lost even so."""
PATIENCE = datetime.timedelta(seconds=5)
"""How long the store may take to answer."""
ENDED = "ended"
"""The last word of a process that ends by itself."""


@runtime_checkable
class Store(Protocol):
    """What of `torch.distributed.Store` is needed: values by key, that all processes see."""

    def set(self, key: str, value: str) -> None:
        """Keep a value."""

    def check(self, keys: list[str]) -> bool:
        """Whether all of these keys have a value."""

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
        self._seen_here: set[int] = set()
        self._ended: set[int] = set()
        self._stop = threading.Event()
        self.dismissed = False
        """Whether the leader wants no more of the others."""
        self.gone: list[str] = []
        """The names of processes that are held for lost, whatever this one does just now."""
        self._say("0")

    def start(self) -> None:
        """Begin; all processes have said something by now."""
        now = time.monotonic()
        self._heard = dict.fromkeys(self._heard, ("", now))
        self._listen()
        # A pid says something only where it was seen: containers of one name share none.
        self._seen_here = {rank for rank in self._heard if not self._is_dead(rank)}
        threading.Thread(target=self._run, name="loang pulse", daemon=True).start()

    def stop(self) -> None:
        """This process ends, by itself."""
        if not self._stop.is_set():
            self._stop.set()
            with contextlib.suppress(RuntimeError):
                self._say(ENDED)

    def dismiss(self, patience: float) -> None:
        """Tell the others that no more is wanted of them, and wait until they have ended.

        Args:
            patience: seconds, at the most: this process may hold the store that they hear it by.
        """
        end = time.monotonic() + patience
        with contextlib.suppress(RuntimeError):
            self.store.set(f"{self.prefix}dismissed", "1")
            while len(self._ended) < len(self._heard) and time.monotonic() < end:
                self._listen()
                if self._silent(SILENT):
                    return
                time.sleep(0.05)

    def lost(self, patience: float = 2 * SILENT) -> list[str]:
        """After something has failed: the names of the processes that are gone.

        Args:
            patience: seconds to wait until one is known to be, or this one is dismissed.
        """
        end = time.monotonic() + patience
        while not self.dismissed:
            names = self._silent(SILENT) + [self._name(rank) for rank in sorted(self._ended)]
            if names or time.monotonic() > end:
                return names
            time.sleep(0.05)
        return []

    def _run(self) -> None:
        beat, before = 0, time.monotonic()
        while not self._stop.wait(BEAT):
            beat += 1
            with contextlib.suppress(RuntimeError):  # the store is gone, and whoever kept it too
                self._say(str(beat))
                self._listen()
            now = time.monotonic()
            if now - before > 4 * BEAT + PATIENCE.total_seconds():  # it slept: a lid, Ctrl-Z
                self._heard = {rank: (said, now) for rank, (said, _) in self._heard.items()}
            before = now
            self.gone = self._silent(GIVEN_UP)

    def _say(self, word: str) -> None:
        said = f"{word} {os.getpid()} {socket.gethostname()}"
        self.store.set(f"{self.prefix}{self.place.rank}", said)

    def _listen(self) -> None:
        now, ranks = time.monotonic(), list(self._heard)
        if self.place.rank and self.store.check([f"{self.prefix}dismissed"]):
            self.dismissed = True
        values = self.store.multi_get([f"{self.prefix}{rank}" for rank in ranks])
        for rank, value in zip(ranks, values, strict=True):
            said = value.decode()
            if said != self._heard[rank][0]:
                self._heard[rank] = said, now
                word, pid, host = said.split(" ", 2)
                self._who[rank] = host, int(pid)
                if word == ENDED:
                    self._ended.add(rank)

    def _silent(self, seconds: float) -> list[str]:
        """Who has said nothing for so long, or is known to be dead, and did not end by itself."""
        now = time.monotonic()
        found = []
        for rank, (_, heard) in self._heard.items():
            dead = now - heard > 1.5 * BEAT and rank in self._seen_here and self._is_dead(rank)
            if rank not in self._ended and (dead or now - heard > seconds):
                found.append(self._name(rank))
        return found

    def _is_dead(self, rank: int) -> bool:
        """Whether a process, if it is of this machine, is none any more."""
        host, pid = self._who.get(rank, ("", 0))
        if host != socket.gethostname():
            return True
        try:
            return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def _name(self, rank: int) -> str:
        host, pid = self._who.get(rank, ("an unknown machine", 0))
        return f"process {rank} of {self.place.size} (pid {pid} on {host})"
