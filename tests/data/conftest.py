"""No test of data touches the network, the person's cache or the person's data."""

import pytest


@pytest.fixture(autouse=True)
def _sealed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOANG_DATA", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path_factory.mktemp("cache") / "loang"))
    monkeypatch.setenv("LOANG_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")  # the servers of these tests are on this machine
