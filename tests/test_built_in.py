"""The model that ships: small, whole, named, and worth looking at."""

import sys

import numpy as np
import pytest

import loang
from loang import api, built_in, cli
from loang.metrics.features.fashion import fashion_features

MOST = 4_000_000  # bytes


def test_it_is_small_and_its_card_lies_beside_it():
    assert built_in.path().stat().st_size <= MOST
    card = built_in.path().with_suffix(".md").read_text("utf-8")
    assert "python scripts/train_shipped_model.py" in card
    assert "MIT" in card
    assert "floor" in card


def test_what_it_draws_is_what_was_asked_for():
    model = loang.load("built-in", device="cpu")
    pixels = model.sample(80, seed=3)
    assert pixels.shape == (80, 28, 28, 1)
    seen = fashion_features().classify(pixels, model.spec)
    assert (seen == np.arange(80) % 10).mean() > 0.9


def test_it_is_meant_where_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(api.default_model()) == "built-in"
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    run.joinpath("model.safetensors").write_bytes(built_in.path().read_bytes())
    assert api.default_model() == run.relative_to(tmp_path)


def test_a_folder_of_that_name_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "built-in").mkdir()
    with pytest.raises(loang.LoangError, match="There is no model at built-in"):
        loang.load("built-in")


def test_sample_without_arguments_draws_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["loang", "sample"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert "the model that ships with loang" in capsys.readouterr().out
    assert (tmp_path / "samples.png").stat().st_size > 5000
