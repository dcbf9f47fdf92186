"""The addresses that serve one file, and the first of them that answers."""

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from loang.errors import LoangError

Answer = http.client.HTTPResponse | urllib.error.HTTPError
RANGE_NOT_SATISFIABLE = 416


class Mirrors:
    """Addresses still worth asking, and why the others are not.

    Args:
        name: of the file, for messages.
        urls: the preferred address first.
        connect_timeout: seconds for all together until one answers.
        stall_timeout: seconds that an answer may later pause.
    """

    def __init__(
        self, name: str, urls: Sequence[str], connect_timeout: float, stall_timeout: float
    ) -> None:
        self.name, self.left, self.reasons = name, list(urls), list[str]()
        self.connect_timeout, self.stall_timeout = connect_timeout, stall_timeout

    def reject(self, url: str, reason: str) -> None:
        """Notes why an address is of no use, and asks it no more."""
        self.left.remove(url)
        host = url.split("/")[2] if "://" in url else url
        self.reasons.append(f"{host} {reason}")

    def failure(self) -> LoangError:
        """What a person reads when no address is left."""
        return LoangError(
            f"{self.name} could not be fetched: {'; '.join(self.reasons) or 'nobody to ask'}.",
            "Look at the network connection, or fetch the file by other means.",
        )

    def open(self, offset: int) -> tuple[str, Answer]:
        """The first answer to a request for the bytes from `offset` on, and who gave it.

        The next address is asked when the ones before it failed, or have been silent for their
        share of the time; so a silent first address costs little, and a slow one may still win.
        The asking is done in threads that may be left behind, because name look-up knows no
        time-out.

        Raises:
            LoangError: none answered in time.
        """
        now = time.monotonic()
        end, share = now + self.connect_timeout, self.connect_timeout / max(len(self.left), 1)
        to_ask, asked, next_start = list(self.left), list[str](), now
        question = _Question(offset, self.stall_timeout)
        try:
            while self.left and (now := time.monotonic()) < end:
                if to_ask and (not asked or now >= next_start):
                    asked.append(to_ask.pop(0))
                    question.ask(asked[-1])
                    next_start = now + share
                try:
                    wake = min(end, next_start) if to_ask else end
                    url, answer = question.answers.get(timeout=max(wake - now, 0.0))
                except queue.Empty:
                    continue
                if isinstance(answer, str):
                    asked.remove(url)
                    self.reject(url, answer)
                else:
                    return url, answer
            for url in asked:
                self.reject(url, f"did not answer within {self.connect_timeout:g} s")
            raise self.failure()
        finally:
            question.withdraw()


class _Question:
    """One request put to several addresses; answers that come too late are closed."""

    def __init__(self, offset: int, timeout: float) -> None:
        self.headers = {"User-Agent": "loang", "Accept-Encoding": "identity"}
        if offset:
            self.headers["Range"] = f"bytes={offset}-"
        self.timeout = timeout
        self.answers: queue.SimpleQueue[tuple[str, Answer | str]] = queue.SimpleQueue()
        self.withdrawn = threading.Event()

    def ask(self, url: str) -> None:
        threading.Thread(target=self._ask, args=(url,), daemon=True).start()

    def _ask(self, url: str) -> None:
        self.answers.put((url, self._answer(url)))
        if self.withdrawn.is_set():
            self.withdraw()

    def _answer(self, url: str) -> Answer | str:
        try:
            request = urllib.request.Request(url, headers=self.headers)
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=self.timeout)
            return answer
        except urllib.error.HTTPError as error:
            if error.code == RANGE_NOT_SATISFIABLE and "Range" in self.headers:
                return error
            error.close()
            return f"answered {error.code} {error.reason}"
        except urllib.error.URLError as error:
            return f"is out of reach ({getattr(error.reason, 'strerror', None) or error.reason})"
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"is out of reach ({error})"

    def withdraw(self) -> None:
        self.withdrawn.set()
        while not self.answers.empty():
            try:
                _, answer = self.answers.get_nowait()
            except queue.Empty:
                return
            if not isinstance(answer, str):
                answer.close()
