"""Jobs of several processes, as a launcher starts them."""

import os
import socket
import subprocess
import sys


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
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)],
                    env={**os.environ, **{key: str(value) for key, value in place.items()}, **more},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

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
