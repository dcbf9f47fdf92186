"""Charts: they draw what they are given, quietly, whatever is missing. Warnings are errors here."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from loang.errors import LoangError
from loang.pictures import charts
from loang.pictures.charts import schedule_chart, training_chart


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every page that a chart function saves."""
    saved: list[Figure] = []
    real = charts.save
    monkeypatch.setattr(charts, "save", lambda f, path: (saved.append(f), real(f, path))[1])
    return saved


def linear(steps: int) -> np.ndarray:
    return np.concatenate([[1.0], np.cumprod(1.0 - np.linspace(1e-4, 0.02, steps))])


def record(index: int, **more: Any) -> dict[str, Any]:
    return {"images": 1000 * (index + 1), "loss": 1.0 / (index + 1), "learning_rate": 1e-3} | more


def assert_picture(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 800
        assert len(picture.convert("L").getcolors()) > 10


def test_schedules_share_a_page(tmp_path: Path, pages: list[Figure]) -> None:
    zero_terminal = linear(50) * np.linspace(1.0, 0.0, 51)
    curves = {"linear": linear(1000), "short": linear(10), "zero terminal SNR": zero_terminal}
    schedule_chart(curves, path := tmp_path / "schedules.png")
    assert_picture(path)
    panels = pages[0].axes
    assert [len(panel.lines) for panel in panels] == [3, 3, 3, 3]
    for name, line_index in (("linear", 0), ("short", 1), ("zero terminal SNR", 2)):
        alpha_bar = curves[name]
        wanted = [alpha_bar, np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)]
        for panel, values in zip(panels[:3], wanted, strict=True):
            line = panel.lines[line_index]
            np.testing.assert_allclose(line.get_ydata(), values)
            np.testing.assert_allclose(line.get_xdata(), np.linspace(0.0, 1.0, len(values)))
        log_snr = np.asarray(panels[3].lines[line_index].get_ydata())
        inside = (alpha_bar > 0.0) & (alpha_bar < 1.0)
        np.testing.assert_array_equal(np.isfinite(log_snr), inside)
        assert np.isfinite(panels[3].get_ylim()).all()
        a = alpha_bar[inside]
        np.testing.assert_allclose(log_snr[inside], np.log(a / (1.0 - a)), atol=1e-9)
    legend = pages[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == list(curves)


def test_schedules_differ_in_colour_and_in_dashes(tmp_path: Path, pages: list[Figure]) -> None:
    schedule_chart({str(k): linear(10 + k) for k in range(12)}, tmp_path / "many.png")
    lines = pages[0].axes[0].lines
    assert len({line.get_color() for line in lines[:6]}) == 6
    assert len({str(line._dash_pattern) for line in lines[:5]}) == 5
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 12


@pytest.mark.parametrize(
    "alpha_bar", [np.array([1.0]), np.array([1.0, 1.5]), np.array([1.0, np.nan])]
)
def test_what_is_no_schedule_is_refused(tmp_path: Path, alpha_bar: np.ndarray) -> None:
    with pytest.raises(ValueError, match="alpha_bar of 'odd'"):
        schedule_chart({"odd": alpha_bar}, tmp_path / "odd.png")
    with pytest.raises(ValueError, match="no schedule"):
        schedule_chart({}, tmp_path / "none.png")
    assert list(tmp_path.iterdir()) == []


def test_a_whole_training_run(tmp_path: Path, pages: list[Figure]) -> None:
    records = [record(k) for k in range(100)]
    for k in range(9, 100, 10):
        records[k] |= {"validation_loss": 1.1 / (k + 1), "validation_loss_ema": 0.9 / (k + 1)}
    training_chart(records, path := tmp_path / "run.png")
    assert_picture(path)
    upper, lower = pages[0].axes
    assert [len(line.get_xdata()) for line in upper.lines] == [100, 100, 10, 10]
    assert upper.get_yscale() == "log"
    assert [text.get_text() for text in upper.get_legend().get_texts()] == [
        "training (smoothed)",
        "validation",
        "validation, averaged weights",
    ]
    assert lower.get_xlabel() == "images seen"
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), [1e-3] * 100)


def test_smoothing_keeps_a_constant_and_calms_noise() -> None:
    assert charts._smoothed(np.ones(24)) is None
    np.testing.assert_allclose(charts._smoothed(np.full(200, 0.3)), 0.3)
    noise = np.random.default_rng(0).normal(size=1000)
    smooth = charts._smoothed(noise)
    assert smooth is not None
    assert smooth[200:].std() < 0.25
    assert smooth[500] == pytest.approx(noise[460:541].mean())
    assert smooth[0] == noise[0]


@pytest.mark.parametrize(
    "records", [[], [{}], [{"loss": 0.5}], [record(0, loss=math.nan, learning_rate=None)]]
)
def test_nothing_to_draw_writes_nothing(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    training_chart(records, tmp_path / "run.png")
    assert list(tmp_path.iterdir()) == []


def test_a_single_record_is_a_dot(tmp_path: Path, pages: list[Figure]) -> None:
    training_chart([record(0)], path := tmp_path / "run.png")
    assert_picture(path)
    (dot,) = pages[0].axes[0].lines
    assert dot.get_marker() == "o"
    np.testing.assert_array_equal(dot.get_xydata(), [[1000, 1.0]])


def test_what_is_missing_or_not_finite_is_left_out(tmp_path: Path, pages: list[Figure]) -> None:
    records = [
        record(0),
        record(1, loss=math.nan),
        record(2, loss=math.inf),
        record(3, loss=None),
        {"images": 5000, "validation_loss": np.float32(0.5), "note": "resumed"},
        {"loss": 0.1},
        record(6, loss="0.3"),
        record(7),
    ]
    training_chart(records, path := tmp_path / "run.png")
    assert_picture(path)
    loss, validation = pages[0].axes[0].lines
    np.testing.assert_array_equal(loss.get_xdata(), [1000, 8000])
    np.testing.assert_array_equal(validation.get_xydata(), [[5000, 0.5]])


@pytest.mark.parametrize(
    "records",
    [
        [{"images": k, "validation_loss": 0.5} for k in range(3)],
        [{"images": 10 * k, "learning_rate": 0.0} for k in range(3)],
        [{"images": 0, "loss": 0.0, "learning_rate": 0.0}],
        [{"images": 7, "loss": 1e-3}, {"images": 7, "loss": 1e6}],
    ],
    ids=["only validation", "only rate", "all zero", "same place"],
)
def test_odd_runs_are_drawn_quietly(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    training_chart(records, path := tmp_path / "run.png")
    assert_picture(path)


@pytest.mark.parametrize("start", [-1.0, 0.0])
def test_a_loss_that_is_not_positive_has_a_plain_axis(
    tmp_path: Path, pages: list[Figure], start: float
) -> None:
    records = [{"images": 10 * k, "loss": start + k} for k in range(40)]
    training_chart(records, tmp_path / "run.png")
    assert pages[0].axes[0].get_yscale() == "linear"


def test_svg(tmp_path: Path) -> None:
    training_chart([record(0), record(1)], path := tmp_path / "run.svg")
    assert b"<svg" in path.read_bytes()[:2000]


def test_an_unknown_suffix_is_the_persons_to_mend(tmp_path: Path) -> None:
    for draw in (
        lambda path: training_chart([], path),
        lambda path: schedule_chart({"linear": linear(5)}, path),
    ):
        with pytest.raises(LoangError, match=r"can't write \.gif charts .* ends in \.png or \.svg"):
            draw(tmp_path / "chart.gif")


def test_drawing_leaves_pyplot_alone_and_importing_leaves_matplotlib_alone() -> None:
    program = (
        "import sys, io, tempfile, pathlib\n"
        "import loang.pictures.charts as charts, loang.pictures.grid, loang.pictures.animation\n"
        "assert 'matplotlib' not in sys.modules\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    charts.training_chart([{'images': 1, 'loss': 1.0}], pathlib.Path(folder) / 'a.png')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
