"""The trackers of a run, as it sees them: it starts them, hears of their trouble, ends them."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import loang
from loang.errors import LoangError
from loang.tracking.tracker import End

STARTING = 120.0
"""Seconds that a tracker's package may take to be imported."""
CLOSING = {"finished": 60.0, "interrupted": 15.0, "failed": 15.0}
"""Seconds that a run waits for its trackers in the end."""
SILENT = 2.0
"""Seconds after which a person is told what is waited for."""

_LEFT: list["Worker"] = []
"""Those that are still sending, and need this process no more."""


class Worker:
    """The process of one tracker.

    Args:
        name: of the tracker.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = False
        """Whether nothing more is to be heard of it."""
        # The package that this process uses, wherever that found it.
        root = str(Path(loang.__file__).parents[1])
        paths = [path for path in (os.environ.get("PYTHONPATH"), root) if path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "loang.tracking.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def require_ready(self) -> None:
        """Wait until the tracker says that it can be used.

        Raises:
            LoangError: it can't.
        """
        try:
            answer = self._answers.get(timeout=STARTING)
        except queue.Empty:
            answer = {}
        if "refused" in answer:
            raise LoangError(*answer["refused"])
        if "ready" not in answer:
            raise LoangError(
                f"{self.name} does not start.",
                f"Look whether Python can import it, or leave --track {self.name} away.",
            )

    def order(self, **values: Any) -> None:
        """Two are given in all, so they always fit into the pipe; a dead one needs none."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(values) + "\n")
            self._process.stdin.flush()

    def trouble(self) -> str | None:
        """Why the tracker was given up; told once."""
        while not self.over:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return None
            self.over = "ready" not in answer
            if "closed" not in answer and self.over:
                return str(answer.get("failed", "its process has ended."))
        return None

    def ended(self, seconds: float) -> bool:
        """Wait so long for the process; whether it is over."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(SILENT)
        return True

    def leave(self, patience: float = SILENT) -> None:
        """Give it no more orders; one that waits for them ends, which may take so many seconds."""
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        if self.ended(0 if self.over else patience) and self._process.stdout is not None:
            self._process.stdout.close()
        else:
            _LEFT.append(self)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                self._answers.put(json.loads(line))
        self._answers.put({"ended": True})


class Tracking:
    """All trackers of a session. Nothing here waits for one of them while a run trains.

    Args:
        names: of the trackers.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self.workers: list[Worker] = []

    def start(self, *, asked: bool = True) -> list[str]:
        """Start them, and wait until each can be used.

        Args:
            asked: whether a person asks for them now; of those that only an earlier session had,
                one that can't be used is no reason to stop, and is left away.

        Returns:
            What a person should know of those, a line each.

        Raises:
            LoangError: one can't be used that is asked for.
        """
        notes = []
        try:
            self.workers += [Worker(name) for name in self.names]
            for worker in list(self.workers):
                try:
                    worker.require_ready()
                except LoangError as error:
                    if asked:
                        raise
                    self.workers.remove(worker)
                    worker.leave()
                    notes.append(
                        f"Warning: {worker.name} has tracked this run, and is told nothing now:"
                        f" {error.problem} --track none leaves it away."
                    )
        except BaseException:
            self.drop()
            raise
        return notes

    def follow(self, folder: Path, *, anew: bool) -> None:
        """Say which run they follow; whether it begins, or is gone on with."""
        for worker in self.workers:
            worker.order(folder=str(folder.resolve()), anew=anew)

    def troubles(self) -> list[str]:
        """What went wrong since the last call, a sentence each."""
        found = [(worker.name, worker.trouble()) for worker in self.workers]
        return [f"{name} can't be told any more: {why}" for name, why in found if why]

    def close(self, end: End, say: Callable[[str], None]) -> None:
        """Say how the run ended, and give the trackers a while to send what is left.

        Ctrl-C ends the waiting, and changes nothing of how the run ended.
        """
        patience = 0.0
        try:
            for worker in self.workers:
                worker.order(end=end)
            self._wait(end, say)
            patience = SILENT
        except KeyboardInterrupt:
            for worker in self.workers:
                if not worker.ended(0):
                    say(f"{worker.name} is not waited for, and is left to itself for ten minutes.")
        finally:
            self.drop(patience)

    def _wait(self, end: End, say: Callable[[str], None]) -> None:
        started, silent = time.monotonic(), True
        for worker in self.workers:
            if silent and not worker.ended(max(0.0, started + SILENT - time.monotonic())):
                say(f"Waiting for {worker.name} ...")
                silent = False
            if not worker.ended(max(0.0, started + CLOSING[end] - time.monotonic())):
                say(f"{worker.name} is not done yet, and is left to itself for ten minutes.")
        for line in self.troubles():
            say(f"Warning: {line}")

    def drop(self, patience: float = SILENT) -> None:
        """Leave them; those that follow nothing yet end, each within so many seconds."""
        for worker in self.workers:
            worker.leave(patience)
        self.workers = []
