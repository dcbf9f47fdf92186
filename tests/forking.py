"""Starts the processes of jobs.py: forks of one that has imported what all of them need.

To import torch, its optimizers, and what draws takes a process four seconds, and most jobs of the
tests less than that for all the rest. Each process runs and ends as one that was started alone: by
its own signals, with its own status, and after what is registered for the end.

Its standard input is a socket. Each message asks for a process, and brings a socket to be told its
number and then its status, and a file for its words.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys

import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401 (to have it)
import torch._dynamo
import torch.distributed.fsdp  # noqa: F401 (to have it)

import loang.cli.app
import loang.training.run  # noqa: F401 (to have it)


def forked(asked: socket.socket) -> tuple[bytes, int, int]:
    """Returns in a process for each message: what it says, and its two files."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # else each process looks through all of it again, at its end for a second
    while True:
        message, (*files,), _, _ = socket.recv_fds(asked, 2**17, 2)
        if not message:
            os._exit(0)  # whoever asked is gone
        if os.fork() == 0:
            told, words = files
            return message, told, words
        for file in files:
            os.close(file)


def watched(told: int) -> None:
    """Returns in a process whose number and status are told by another."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return
    os.write(told, str(process).encode())
    status = os.waitpid(process, 0)[1]
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(command: list[str]) -> None:
    """As `python` would, after which they stand."""
    first, *more = command
    if first == "-c":
        code, *more = more
        sys.argv = [first, *more]
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        module, *more = more
        sys.argv = [module, *more]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path[0] = os.path.dirname(first)  # noqa: PTH120
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    asked = socket.socket(fileno=0)
    message, told, words = forked(asked)
    watched(told)
    os.close(told)
    asked.detach()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(words, 1)
    os.dup2(words, 2)
    what = json.loads(message)
    os.chdir(what["folder"])
    os.environ.clear()
    os.environ.update(what["environment"])
    sys.path[0] = ""  # as where `python` is not given a file
    more = what["environment"].get("PYTHONPATH", "").split(":")
    sys.path[1:1] = [path for path in more if path and path not in sys.path]
    run(what["command"])
