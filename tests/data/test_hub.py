"""Against a server on this machine that speaks what huggingface_hub asks of the hub."""

import hashlib
import http.server
import io
import json
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loang.data.places import hub
from loang.data.places.hub import is_hub, open_hub
from loang.data.places.hub_listing import Address, split_and_config
from loang.data.wishes import Wishes
from loang.errors import LoangError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
constants = pytest.importorskip("huggingface_hub.constants")

CONVERTED = "refs/convert/parquet"


def png(seed: int) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue(), pixels


def table(count: int, start: int = 0, column: str = "image") -> bytes:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": png(start + row)[0], "path": None} for row in range(count)]
    content = io.BytesIO()
    made = pa.table({column: pa.array(cells, kind), "label": [row % 2 for row in range(count)]})
    pq.write_table(made, content, row_group_size=3)
    return content.getvalue()


class Hub(http.server.ThreadingHTTPServer):
    """Data sets by name, each of files by revision; and what goes wrong with them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.refused: dict[str, tuple[int, str, str]] = {}
        self.broken = False
        self.down = False
        self.asked: list[tuple[str, str, str | None, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        found = self.repos[repo].items()
        return next((files for name, files in found if revision in (name, commit(files))), None)

    def downloads(self) -> list[str]:
        return [path for method, path, *_ in self.asked if method == "GET" and "/resolve/" in path]


def commit(files: dict[str, bytes]) -> str:
    """Stands for the content, as on the hub."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def tell(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def refuse(self, status: int, code: str, message: str = "no") -> None:
        self.answer(status, b"{}", X_Error_Code=code, X_Error_Message=message)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.do_GET()

    def do_GET(self) -> None:
        server, url = self.server, urllib.parse.urlsplit(self.path)
        headers = self.headers
        server.asked.append((self.command, url.path, headers["Range"], headers["Authorization"]))
        if server.down:
            return self.answer(503)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        if url.path == "/api/datasets":
            wanted = urllib.parse.parse_qs(url.query)["search"][0]
            found = [{"id": repo} for repo in server.repos if wanted[:4] in repo]
            return self.tell(found)
        parts = parts[1:] if parts[0] == "api" else parts
        repo, what, revision, *rest = "/".join(parts[1:3]), parts[3], parts[4], *parts[5:]
        if repo in server.refused:
            return self.refuse(*server.refused[repo])
        if repo not in server.repos:
            return self.refuse(404, "RepoNotFound")
        files = server.files(repo, revision)
        if files is None:
            return self.refuse(404, "RevisionNotFound")
        sha = commit(files)
        if what == "revision":
            return self.tell({"id": repo, "sha": sha, "siblings": []})
        if what in ("tree", "paths-info"):
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in files.items()
            ]
            return self.tell(listed)
        assert what == "resolve"
        content = files.get("/".join(rest))
        if content is None:
            return self.refuse(404, "EntryNotFound")
        about = {"ETag": f'"{abs(hash(content)):x}"', "X_Repo_Commit": sha}
        if server.broken and self.command == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        if headers["Range"]:
            first, _, last = headers["Range"].removeprefix("bytes=").partition("-")
            end = int(last) + 1 if last else len(content)
            piece = content[int(first) : end]
            about["Content_Range"] = f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"
            return self.answer(206, piece, **about)
        return self.answer(200, content, **about)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.delenv("LOANG_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def clothes(server: Hub) -> Hub:
    server.repos["someone/clothes"] = {
        "main": {"README.md": b"x"},
        CONVERTED: {
            "default/train/0000.parquet": table(7),
            "default/train/0001.parquet": table(5, 7),
            "default/test/0000.parquet": table(4, 100),
        },
    }
    return server


def check_clothes(images) -> None:
    assert len(images) == 16
    held = images.held_out()
    assert held.sum() == 4
    order = [*range(100, 104), *range(12)] if held[0] else [*range(12), *range(100, 104)]
    for index, seed in enumerate(order):
        np.testing.assert_array_equal(images.picture(index), png(seed)[1])
    assert images.labels().names == ("0", "1")


def test_what_the_hub_made_of_a_data_set(clothes: Hub) -> None:
    assert is_hub("hub:someone/clothes")
    seen: list[tuple[str, int, int | None]] = []
    wishes = Wishes(on_progress=lambda *told: seen.append(told))
    images = open_hub("hub:someone/clothes", wishes)
    check_clothes(images)
    assert images.notices == []
    assert images.place(15).startswith("someone/clothes/default/train/0001.parquet, row")
    total = seen[-1][2]
    assert (
        seen[-1][1] == total == sum(map(len, clothes.repos["someone/clothes"][CONVERTED].values()))
    )
    assert [told[1] for told in seen] == sorted(told[1] for told in seen)
    assert {token for *_, token in clothes.asked} == {"Bearer hf_secret"}
    assert len(clothes.downloads()) == 3
    again = open_hub("hub:someone/clothes", Wishes())
    assert again.identity() == images.identity()
    assert len(clothes.downloads()) == 3  # what was kept is not fetched again


def test_what_is_kept_needs_no_network(clothes: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_hub("hub:someone/clothes", Wishes())
    clothes.down = True
    images = open_hub("hub:someone/clothes", Wishes())
    check_clothes(images)
    assert "can't be reached" in " ".join(images.notices)
    clothes.asked.clear()
    monkeypatch.setenv("LOANG_OFFLINE", "1")
    images = open_hub("hub:someone/clothes", Wishes())
    check_clothes(images)
    assert images.identity() == first.identity()
    assert clothes.asked == []


def test_offline_and_not_kept(
    clothes: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LoangError, match="not in the cache, and the network is switched off"):
        open_hub("hub:someone/clothes", Wishes())
    assert clothes.asked == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    open_hub("hub:someone/clothes", Wishes())
    shutil.rmtree(tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(LoangError, match=r"3 of the 3 files .* not in the cache"):
        open_hub("hub:someone/clothes", Wishes())


def test_a_data_set_that_changed_has_another_identity(clothes: Hub) -> None:
    first = open_hub("hub:someone/clothes", Wishes()).identity()
    clothes.repos["someone/clothes"][CONVERTED] = {"default/train/0000.parquet": table(2)}
    images = open_hub("hub:someone/clothes", Wishes())
    assert images.identity() != first
    assert len(images) == 2
    assert images.held_out() is None  # there is only one part


def test_what_the_disk_has_no_room_for_is_streamed(
    clothes: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "_free", lambda: 1000)
    images = open_hub("hub:someone/clothes", Wishes())
    assert "read over the network" in " ".join(images.notices)
    check_clothes(images)
    kept = [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.stat().st_size > 1000]
    got = [asked for asked in clothes.asked if asked[0] == "GET" and "/resolve/" in asked[1]]
    assert got
    assert all(asked[2] for asked in got)  # each is for a range of bytes
    monkeypatch.setattr(hub, "_free", lambda: 10**12)
    assert images.identity() == open_hub("hub:someone/clothes", Wishes()).identity()


def test_several_configurations(server: Hub) -> None:
    server.repos["someone/both"] = {
        CONVERTED: {
            "one/train/0000.parquet": table(3),
            "two/train/0000.parquet": table(4, 50),
            "two/validation/0000.parquet": table(2, 80),
            "two/test/0000.parquet": table(2, 90),
        }
    }
    with pytest.raises(
        LoangError, match=r"several configurations: one, two\. .*hub:someone/both/one"
    ):
        open_hub("hub:someone/both", Wishes())
    assert len(open_hub("hub:someone/both/one", Wishes())) == 3
    images = open_hub("hub:someone/both/two", Wishes())
    assert (len(images), images.held_out().sum()) == (6, 2)
    assert "part test" in " ".join(images.notices)
    with pytest.raises(LoangError, match="no configuration three, but one, two"):
        open_hub("hub:someone/both/three", Wishes())


def test_without_a_conversion_its_own_parquet_files(server: Hub) -> None:
    server.repos["someone/own"] = {
        "main": {
            "data/train-00000-of-00001.parquet": table(5),
            "data/test-00000-of-00001.parquet": table(2, 60),
            "README.md": b"x",
        },
        "v1": {"data/train-00000-of-00001.parquet": table(3)},
    }
    images = open_hub("hub:someone/own", Wishes())
    assert (len(images), images.held_out().sum()) == (7, 2)
    assert len(open_hub("hub:someone/own@v1", Wishes())) == 3
    with pytest.raises(LoangError, match="has no revision v9"):
        open_hub("hub:someone/own@v9", Wishes())


def test_without_parquet_files_its_images(server: Hub) -> None:
    server.repos["someone/pictures"] = {
        "main": {f"{'ab'[row % 2]}/{row}.png": png(row)[0] for row in range(6)} | {"x.bin": b"x"}
    }
    images = open_hub("hub:someone/pictures", Wishes())
    assert len(images) == 6
    found = {images.place(index): images.picture(index) for index in range(6)}
    for row in range(6):
        np.testing.assert_array_equal(found[f"{'ab'[row % 2]}/{row}.png"], png(row)[1])
    assert images.labels().names == ("a", "b")


def test_a_part_of_a_large_data_set_is_told(server: Hub) -> None:
    server.repos["someone/large"] = {CONVERTED: {"default/partial-train/0000.parquet": table(3)}}
    assert "first gigabytes" in " ".join(open_hub("hub:someone/large", Wishes()).notices)


def test_neither_tables_nor_images(server: Hub) -> None:
    server.repos["someone/text"] = {"main": {"a.txt": b"x"}}
    with pytest.raises(LoangError, match="neither Parquet files nor images"):
        open_hub("hub:someone/text", Wishes())


def test_no_column_of_images(server: Hub) -> None:
    content = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"]}), content)
    server.repos["someone/text"] = {CONVERTED: {"default/train/0000.parquet": content.getvalue()}}
    with pytest.raises(LoangError, match=r"No column of hub:someone/text.*text \(string\)"):
        open_hub("hub:someone/text", Wishes())


def test_no_such_data_set_and_what_may_be_meant(clothes: Hub) -> None:
    with pytest.raises(LoangError, match=r"no data set a/cloth on.*Did you mean hub:someone/cl"):
        open_hub("hub:a/cloth", Wishes())
    with pytest.raises(LoangError, match="no data set a/xyzzy on") as told:
        open_hub("hub:a/xyzzy", Wishes())
    assert "Did you mean" not in str(told.value)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ((403, "GatedRepo", "Access is restricted"), "accept its conditions.*hf auth login"),
        ((401, "GatedRepo", "Access is restricted"), "accept its conditions.*hf auth login"),
        ((401, "RepoNotFound", "Invalid username or password."), "or it is private.*hf auth login"),
        ((401, "", "Invalid credentials in Authorization header"), "refuses access.*hf auth login"),
        ((403, "", "Forbidden"), r"refuses access.*HTTP 403.*hf auth login"),
        ((404, "RepoNotFound", ""), "There is no data set"),
        ((500, "", "oh"), "could not be fetched"),
    ],
)
def test_refusals_are_told_in_two_sentences(
    clothes: Hub, refused: tuple[int, str, str], message: str
) -> None:
    clothes.refused["someone/clothes"] = refused
    with pytest.raises(LoangError, match=message) as told:
        open_hub("hub:someone/clothes", Wishes())
    assert "\n" not in str(told.value)


def test_a_download_that_breaks_off_is_told_and_goes_on_later(clothes: Hub) -> None:
    clothes.broken = True
    with pytest.raises(LoangError, match=r"could not be fetched.*run this again"):
        open_hub("hub:someone/clothes", Wishes())
    clothes.broken = False
    check_clothes(open_hub("hub:someone/clothes", Wishes()))


def test_a_stream_that_breaks_off_makes_rows_unreadable_or_is_told(
    clothes: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loang.data.encoded.picture import Unreadable

    monkeypatch.setattr(hub, "_free", lambda: 1000)
    images = open_hub("hub:someone/clothes", Wishes())
    clothes.down = True
    with pytest.raises((LoangError, Unreadable)):
        images.picture(0)


def test_no_network_at_all(clothes: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LoangError, match="hub:someone/clothes could not be fetched"):
        open_hub("hub:someone/clothes", Wishes())


@pytest.mark.parametrize(
    "name", ["hub:mnist", "hub:", "hub:a/b/c/d", "hub:a/b@", "hub:a b/c", "hub:/a"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(LoangError, match="Write hub:owner/name"):
        open_hub(name, Wishes())


@pytest.mark.parametrize("package", ["huggingface_hub", "pyarrow.parquet"])
def test_a_missing_package_is_told(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LoangError, match="pip install"):
        open_hub("hub:a/b", Wishes())


def test_names_are_taken_apart() -> None:
    assert hub.parse("hub:a/b") == Address("a/b")
    assert hub.parse("hub:a/b/c@v1") == Address("a/b", "c", "v1")
    assert hub.parse("hub:a.x/b-1@refs/pr/3") == Address("a.x/b-1", None, "refs/pr/3")
    assert str(hub.parse("hub:a/b/c@v1")) == "hub:a/b/c@v1"


@pytest.mark.parametrize(
    ("path", "converted", "split", "config"),
    [
        ("default/train/0000.parquet", True, "train", "default"),
        ("fine/partial-extra/0001.parquet", True, "extra", "fine"),
        ("data/train-00000-of-00002.parquet", False, "train", "default"),
        ("data/unsupervised-00000-of-00002-4f2a.parquet", False, "unsupervised", "default"),
        ("plain_text/test-00000-of-00001.parquet", False, "test", "plain_text"),
        ("fine/validation/0.parquet", False, "validation", "fine"),
        ("images.parquet", False, "", "default"),
    ],
)
def test_what_paths_say(path: str, converted: bool, split: str, config: str) -> None:
    assert split_and_config(path, converted) == (split, config)
