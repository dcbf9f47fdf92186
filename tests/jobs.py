"""Jobs of several processes, as a launcher starts them."""

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

FORKS = sys.platform == "linux"  # elsewhere a fork of a process that has torch may fail


class Job:
    """Processes of one job; each one's words are kept.

    Args:
        commands: what each process runs after `python`; the first leads.
        more: of the environment.
    """

    def __init__(self, commands, **more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        size = len(commands)
        self.processes = []
        for rank, command in enumerate(commands):
            place = {
                "RANK": rank,
                "WORLD_SIZE": size,
                "LOCAL_RANK": rank,
                "LOCAL_WORLD_SIZE": size,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": 1,
            }
            environment = {
                **os.environ,
                **{key: str(value) for key, value in place.items()},
                **more,
            }
            start = Forked if FORKS else started
            self.processes.append(start(list(map(str, command)), environment))

    def ended(self, seconds=120):
        """(exit status, words) of each process."""
        try:
            return [
                (process.returncode, said)
                for process in self.processes
                for said, _ in [process.communicate(timeout=seconds)]
            ]
        finally:
            self.kill()

    def kill(self):
        for process in self.processes:
            process.kill()
            process.communicate()


def job(size, *command, **more):
    """The same `loang` command in each process."""
    return Job([("-m", "loang", *command)] * size, **more)


def started(command, environment):
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Forked:
    """A process as `started` gives it, but forked from one that has imported torch: forking.py."""

    def __init__(self, command, environment):
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `communicate`)
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = {"command": command, "environment": environment, "folder": str(Path.cwd())}
        with theirs:
            files = [theirs.fileno(), self._words.fileno()]
            socket.send_fds(_forking(), [json.dumps(asked).encode()], files)
        self.pid = int(self._told.recv(64))
        self.returncode = None
        self._said = ""

    def poll(self, seconds=0):
        if self.returncode is None and select.select([self._told], [], [], seconds)[0]:
            self.returncode = int(self._told.recv(64))
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        if self.poll(timeout) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        if not self._words.closed:
            self._words.seek(0)
            self._said = self._words.read().decode(errors="replace")
            self._words.close()
            self._told.close()
        return self._said, None


@functools.cache
def _forking():
    """The socket that asks for processes; what forks them ends with the one that asks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forking.py"))],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=theirs,
            stdout=subprocess.DEVNULL,
        )

    def end():
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
