"""No test of features touches the network or the person's cache."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOANG_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LOANG_INCEPTION", raising=False)
