import hashlib
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loang.data.download import fetch
from loang.errors import LoangError

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.release = threading.Event()

    def url(self, what: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{what}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, misbehaving as the path says."""

    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        what = self.path[1:]
        asked = self.headers["Range"]
        self.server.requests.append((what, asked))
        if what == "missing":
            return self.send_error(404)
        if what == "moved":
            self.send_response(302)
            self.send_header("Location", self.server.url("good"))
            return self.end_headers()
        if what == "silent":
            self.server.release.wait(10)
            return self.send_error(500)
        content = bytes(len(CONTENT)) if what == "wrong" else CONTENT
        start = 0 if asked is None or what == "norange" else int(asked[6:-1])
        if start >= len(content):
            return self.send_error(416)
        shift = 1 if what == "shifted" else 0
        self.send_response(206 if start else 200)
        if start:
            where = f"bytes {start + shift}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", where)
        body = content[start:]
        if what == "longer":
            body += b"more"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if what in ("truncated", "stalling"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if what == "stalling":
                self.server.release.wait(10)
            return None
        if what == "dripping":
            for piece in range(0, len(body), 1000):
                self.wfile.write(body[piece : piece + 1000])
                if self.server.release.wait(0.02):
                    return None
            return None
        self.wfile.write(body)
        return None


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def get(server: Server, place: Path, *what: str, **settings) -> str | None:
    urls = [each if "://" in each else server.url(each) for each in what]
    settings = {"sha256": SHA256, "size": len(CONTENT), "stall_timeout": 0.3, **settings}
    return fetch(urls, place, **settings)


def test_brings_a_file_with_progress(server: Server, tmp_path: Path) -> None:
    place, seen = tmp_path / "new" / "folder" / "file", list[tuple[str, int, int | None]]()
    url = get(server, place, "good", on_progress=lambda *report: seen.append(report))
    assert url == server.url("good")
    assert place.read_bytes() == CONTENT
    assert seen[-1] == ("file", len(CONTENT), len(CONTENT))
    assert not place.with_name("file.part").exists()


def test_what_is_there_is_not_asked_for(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(CONTENT)
    assert get(server, place, "good") is None
    assert server.requests == []


def test_what_is_there_but_wrong_is_replaced(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"damaged")
    get(server, place, "good")
    assert place.read_bytes() == CONTENT


def test_a_wrong_checksum_is_never_put_in_place(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    with pytest.raises(LoangError, match="checksum"):
        get(server, place, "wrong")
    assert not place.exists()
    assert not place.with_name("file.part").exists()


@pytest.mark.parametrize("bad", ["missing", "wrong", "silent", "stalling", "truncated", "longer"])
def test_the_next_mirror_serves(server: Server, tmp_path: Path, bad: str) -> None:
    place = tmp_path / "file"
    url = get(server, place, bad, "good", connect_timeout=0.6)
    assert url == server.url("good")
    assert place.read_bytes() == CONTENT


def test_follows_a_redirect(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path / "file", "moved")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("how", ["truncated", "stalling"])
@pytest.mark.parametrize("then", ["good", "norange"])
@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_goes_on_where_it_was_cut(
    server: Server, tmp_path: Path, how: str, then: str, size: int | None
) -> None:
    place, half = tmp_path / "file", len(CONTENT) // 2
    with pytest.raises(LoangError, match=r"broke off|stopped sending"):
        get(server, place, how, size=size)
    assert place.with_name("file.part").read_bytes() == CONTENT[:half]
    get(server, place, then, size=size)
    assert place.read_bytes() == CONTENT
    assert server.requests[-1] == (then, f"bytes={half}-")


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("part", [b"garbage", bytes(len(CONTENT)), bytes(len(CONTENT) + 7)])
def test_a_bad_part_does_no_harm(
    server: Server, tmp_path: Path, part: bytes, size: int | None
) -> None:
    place = tmp_path / "file"
    place.with_name("file.part").write_bytes(part)
    get(server, place, "good", size=size)
    assert place.read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_no_mirror(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.with_name("file.part").write_bytes(CONTENT)
    assert get(server, place, "missing") is None
    assert place.read_bytes() == CONTENT


def test_a_mirror_that_answers_another_range_is_refused(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.with_name("file.part").write_bytes(CONTENT[:1000])
    with pytest.raises(LoangError, match="another part"):
        get(server, place, "shifted")


def test_a_refused_connection_is_told_at_once(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        began = time.monotonic()
        with pytest.raises(LoangError, match="out of reach"):
            get(server, tmp_path / "file", nobody, nobody + "2")
    assert time.monotonic() - began < 1


def test_silence_costs_no_more_than_the_time_out(server: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(LoangError, match="did not answer"):
        get(server, tmp_path / "file", "silent", "silent", connect_timeout=0.3)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("url", ["", "nonsense", "gopher://127.0.0.1/file", "http://[bad/file"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(LoangError, match="could not be fetched"):
        fetch([url], tmp_path / "file", sha256=SHA256)


def test_no_address_at_all(tmp_path: Path) -> None:
    with pytest.raises(LoangError, match="could not be fetched"):
        fetch([], tmp_path / "file", sha256=SHA256)


@pytest.mark.parametrize("stall_timeout", [0.2, 30.0], ids=["foreseen", "reached"])
def test_a_slow_mirror_is_given_up_and_its_bytes_kept(
    server: Server, tmp_path: Path, stall_timeout: float
) -> None:
    place = tmp_path / "file"
    with pytest.raises(LoangError, match="too slow"):
        get(server, place, "dripping", deadline=0.8, stall_timeout=stall_timeout)
    kept = place.with_name("file.part").read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)


def test_an_interruption_keeps_the_part(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"

    def interrupt(name: str, done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, place, "good", on_progress=interrupt)
    kept = place.with_name("file.part").read_bytes()
    assert len(kept) > 100_000
    get(server, place, "good")
    assert server.requests[-1] == ("good", f"bytes={len(kept)}-")
    assert place.read_bytes() == CONTENT


def test_two_processes_share_one_download(server: Server, tmp_path: Path) -> None:
    """A process that holds the lock makes others wait, and its death lets them go on."""
    place = tmp_path / "file"
    holder = (
        "import sys\nfrom pathlib import Path\nfrom loang.lock import locked\n"
        "with locked(Path(sys.argv[1]), None):\n    print('held', flush=True); sys.stdin.read()"
    )
    lock = str(place) + ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", holder, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"held"
        with pytest.raises(LoangError, match="another process"):
            get(server, place, "good", deadline=0.2)
        waiting = threading.Thread(target=get, args=(server, place, "good"))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert not place.exists()
        process.kill()
        waiting.join(10)
    assert place.read_bytes() == CONTENT


def test_many_at_once_end_with_one_right_file(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    threads = [threading.Thread(target=get, args=(server, place, "good")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_place_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LoangError, match="cannot be written"):
        get(server, tmp_path / "file" / "below", "good")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told(server: Server, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.with_name("file.part").symlink_to("/dev/full")
    with pytest.raises(LoangError, match="No space left"):
        get(server, place, "good")
    assert not place.exists()
