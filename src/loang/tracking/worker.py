"""The process of one tracker: `python -m loang.tracking.worker NAME`.

It says on its standard output whether the tracker can be used, and reads on its standard input what
to follow and, in the end, how the run ended. If the run's process is killed, that input ends, and
the tracker is told that too. What the tracker prints goes to RUN/tracking/NAME.txt.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

from loang.errors import LoangError
from loang.lock import locked
from loang.tracking.follower import Follower
from loang.tracking.names import FOLDER, build
from loang.tracking.tracker import End, Tracker

LOOK = 1.0
"""Seconds from one look at the run's folder to the next."""
PATIENCE = 120.0
"""Seconds that the worker of an earlier session has to end."""
LAST = 600.0
"""Seconds that a tracker may take when the run is over, or it was given up."""


def main(name: str) -> None:
    """Follow a run until it is over."""
    answers = _own_output()
    # A terminal's Ctrl-C, and a job's SIGTERM, are for the run, which says how it ends.
    for number in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    tracker = build(name)
    try:
        tracker.check()
    except LoangError as error:
        _answer(answers, refused=[error.problem, error.remedy])
        return
    except Exception as error:
        remedy = f"Look whether Python can import {name}, or leave --track {name} away."
        _answer(answers, refused=[f"{name} can't be used: {_reason(error)}.", remedy])
        return
    _answer(answers, ready=True)
    order = orders.get()
    if order is None:
        return
    try:
        _follow(tracker, name, Path(order["folder"]), order["anew"], orders)
    except LoangError as error:
        _answer(answers, failed=str(error))
        _end_after(LAST)
    except Exception as error:
        _answer(answers, failed=f"{_reason(error)}.")
        _end_after(LAST)
    else:
        _answer(answers, closed=True)


def _follow(
    tracker: Tracker,
    name: str,
    folder: Path,
    anew: bool,
    orders: "queue.SimpleQueue[dict[str, Any] | None]",
) -> None:
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    _print_to(place / f"{name}.txt")
    with locked(place / f".{name}.lock", PATIENCE) as held:
        if not held:
            raise LoangError(
                f"Another process still tells {name} of this run.", "Wait for it, or stop it."
            )
        follower = Follower(tracker, name, folder, anew=anew)
        follower.open()
        while True:
            try:
                order = orders.get(timeout=LOOK)
                break
            except queue.Empty:
                follower.look()
        # Without a word, the run's process has been killed.
        follower.end(cast(End, "failed" if order is None else order["end"]))


def _own_output() -> IO[str]:
    """Where answers go; what others print, from here on, goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return answers


def _print_to(path: Path) -> None:
    place = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(place, stream)


def _answer(answers: IO[str], **values: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may listen any more
        answers.write(json.dumps(values) + "\n")


def _read(orders: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    """Take orders. The last one, or their end, limits the tracker, whatever it does just now."""
    # A reader of its own: Python aborts if it ends while a thread waits in sys.stdin.
    with contextlib.suppress(OSError, ValueError), os.fdopen(os.dup(0), encoding="utf-8") as lines:
        for line in lines:
            order = json.loads(line)
            if "end" in order:
                _end_after(LAST)
            orders.put(order)
    _end_after(LAST)
    orders.put(None)


def _end_after(seconds: float) -> None:
    """End this process then, whatever it waits for."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _reason(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1])
