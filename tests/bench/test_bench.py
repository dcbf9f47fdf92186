"""What `loang bench` measures: counted work is exact, shares add up, words follow the numbers."""

import contextlib
import dataclasses
import json
import time
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from torch.autograd import DeviceType
from torch.nn import functional

from loang import api, build, device, presets
from loang.bench import advice, words, work
from loang.bench.drawing import DrawingSpeed
from loang.bench.timing import Timing, timed
from loang.bench.training import TrainingSpeed
from loang.bench.work import Operation, Peak
from loang.config import changed
from loang.data import ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.training import memory
from loang.training.trainer import Trainer

CPU = torch.device("cpu")
TINY = (
    *("network.width=8", "network.multipliers=1,1", "network.heads=1", "network.attention=[]"),
    *("network.blocks=1", "training.batch=4", "training.precision=float32"),
)
TRAINING = TrainingSpeed(
    machine="CPU",
    kind="cpu",
    precision="float32",
    batch=16,
    step=Timing(0.1, 0.09, 0.12, 30),
    images=0.005,
    gradients=0.08,
    flops=1e9,
    peak=Peak(4e11, 8e11),
    memory=2**30,
    operations=[Operation("mm", 0.5)],
    larger=(64, 170.0),
)
DRAWING = DrawingSpeed(
    machine="CPU",
    kind="cpu",
    precision="float32",
    way="ddim, 10 steps",
    guided=False,
    rates={1: 20.0, 16: 100.0, 64: 110.0},
    evaluation=1e-3,
    flops=1e8,
    peak=Peak(4e11, 8e11),
    memory=2**30,
    operations=[],
)


_peak = cache(work.peak)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """No other program works here, as far as is seen; and the machine's peak is measured once."""
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 0.0)
    monkeypatch.setattr(work, "peak", lambda on, dtype, seconds=0.2: _peak(on, dtype, 0.2))


@pytest.fixture
def said(run):
    """Runs `loang bench`; returns exit status, standard output and errors."""
    return partial(run, "bench")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.npz"
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 2)
    return path


@pytest.fixture
def model(tmp_path):
    spec = ImageSpec(8, 8, 1, class_names=("dark", "bright"))
    settings = changed(presets.quick(), TINY)
    path = tmp_path / "model.safetensors"
    Model(build.build_denoiser(settings, spec), spec, settings, {}).save(path)
    return path


def test_counted_work_is_that_of_the_formulas():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert work.counted(lambda: a @ b) == 2 * 3 * 5 * 7
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    convolved = 2 * 2 * 8 * 8 * 3 * 4 * 9
    assert work.counted(lambda: functional.conv2d(x, weight, padding=1)) == convolved
    q = torch.randn(2, 3, 10, 4)
    attended = 2 * (2 * 2 * 3 * 10 * 10 * 4)  # scores, and the mean of the values
    assert work.counted(lambda: functional.scaled_dot_product_attention(q, q, q)) == attended


def test_backward_is_twice_the_work_of_forward():
    weight = torch.randn(64, 64, requires_grad=True)
    x = torch.randn(8, 64, requires_grad=True)
    forward = 2 * 8 * 64 * 64
    assert work.counted(lambda: (x @ weight).sum().backward()) == 3 * forward


def test_a_peak_is_more_than_small_work_reaches():
    peak = work.peak(CPU, None, seconds=0.05)
    a = torch.randn(16, 16)
    small = 2 * 16**3 / timed(lambda: a @ a, CPU, 0.01).median
    assert 0 < small < peak.product
    assert peak.convolution > 1e9


def test_the_slowest_operation_is_found_by_its_name():
    a, b = torch.randn(400, 400), torch.randn(10)

    def run():
        b.add(1)
        return a @ a

    found = work.slowest(run, CPU)
    assert found[0].name == "mm"
    assert 0.5 < sum(each.share for each in found) <= 1 + 1e-9


def test_a_gpus_time_counts_once_and_under_torchs_names(monkeypatch):
    """What the profiler gives on CUDA: an operation with its kernel's time, and the kernel."""

    def event(key, on, took):
        return SimpleNamespace(key=key, device_type=on, self_device_time_total=took)

    events = [
        event("aten::conv", DeviceType.CPU, 300),
        event("sm90_xmma_fprop", DeviceType.CUDA, 300),
        event("aten::silu", DeviceType.CPU, 100),
        event("silu_kernel", DeviceType.CUDA, 100),
        event("cudaLaunchKernel", DeviceType.CPU, 0),
    ]
    profiled = contextlib.nullcontext(SimpleNamespace(key_averages=lambda: events))
    monkeypatch.setattr(work, "profile", lambda activities: profiled)
    monkeypatch.setattr(device, "wait", lambda on: None)
    found = work.slowest(lambda: None, torch.device("cuda"))
    assert found[:2] == [Operation("conv", 0.75), Operation("silu", 0.25)]


def test_runs_are_counted_and_ordered():
    calls = []
    timing = timed(lambda: calls.append(1), CPU, seconds=0, least=5)
    assert (timing.runs, len(calls)) == (5, 6)  # the first does not count
    assert 0 <= timing.least <= timing.median <= timing.most


def test_words_tell_the_numbers():
    lines = "\n".join(words.of_training(TRAINING))
    assert "160 images a second: 100 ms a step of 16" in lines
    assert "5% to the images, 75% to the network, 20% to the optimizer" in lines
    # 160 images a second of 1 GFLOP, of 400 and 800 at most.
    assert "160 GFLOP/s: 40% of what a large convolution" in lines
    assert "20% of a matrix product" in lines
    lines = "\n".join(words.of_drawing(DRAWING))
    assert "20 by 1, 100 by 16, 110 by 64" in lines
    assert "1000 evaluations a second, by 64" in lines
    assert "100 GFLOP/s: 25%" in lines
    assert words.amount(12.0) == "12 "


def test_advice_follows_from_the_numbers(monkeypatch):
    monkeypatch.setattr(advice, "available", torch.get_num_threads)

    def of(**changes):
        return advice.of_training(dataclasses.replace(TRAINING, **changes), busy=0.0)

    assert of() == []
    assert "64 trains 1.5 times" in of(larger=(64, 240.0))[0]
    assert of(larger=None) == []
    assert "20% of a step goes to the images" in of(images=0.02)[0]
    assert "1.5 processors busy" in advice.of_training(TRAINING, busy=1.5)[0]
    assert "bfloat16" in of(kind="cuda")[0]
    assert of(kind="cuda", precision="bfloat16") == []
    monkeypatch.setattr(advice, "available", lambda: torch.get_num_threads() + 1)
    assert "OMP_NUM_THREADS" in of()[0]

    monkeypatch.setattr(advice, "available", torch.get_num_threads)
    assert advice.of_drawing(DRAWING, busy=0.0) == []
    faster = dataclasses.replace(DRAWING, rates={64: 100.0, 256: 150.0}, guided=True)
    batch, guided = advice.of_drawing(faster, busy=0.0)
    assert "--batch 256" in batch
    assert "distill" in guided


def test_training_is_measured_and_nothing_kept(said, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    changes = [part for change in TINY for part in ("--set", change)]
    status, out, error = said("train", data, *changes, "--seconds", 0.1)
    assert (status, error) == (0, "")
    assert "images a second" in out
    assert "the slowest operations: " in out
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("room", [2, 16])
def test_no_more_is_trained_on_at_once_than_memory_has_room_for(data, monkeypatch, room):
    at_once, step = set(), Trainer.step

    def noted(self, share):
        at_once.add(self.micro_batch)
        return step(self, share)

    monkeypatch.setattr(Trainer, "step", noted)
    monkeypatch.setattr(memory, "layer_bytes", lambda trainer: 10**9)
    monkeypatch.setattr(device, "memory_free", lambda: int(1.2e9 * room))
    speed = api.bench_training(data, seconds=0.01, changes=TINY, device="cpu")
    assert at_once == ({2} if room == 2 else {4, 16})
    assert (speed.values["larger"] is not None) == (room == 16)


def test_every_number_as_json(said, data, model, tmp_path):
    changes = [part for change in TINY for part in ("--set", change)]
    out = tmp_path / "speed.json"
    status, text, _ = said("train", data, *changes, "--seconds", 0.1, "--json", "--out", out)
    assert status == 0
    found = json.loads(text)
    assert found == json.loads(out.read_text())
    assert found["images_per_second"] == pytest.approx(4 / found["step"]["median"])
    assert found["flops_per_second"] == pytest.approx(found["flops"] * found["images_per_second"])
    assert 0 < found["images"] < found["gradients"]
    assert {"machine", "torch", "date", "advice", "peak", "operations"} <= set(found)
    status, text, _ = said("sample", model, "--steps", 2, "--seconds", 2, "--json")
    assert status == 0
    found = json.loads(text)
    assert {"1", "4", "16"} <= set(found["rates"])
    assert found["way"].startswith(f"{presets.quick().sampling.sampler}, 2 steps")


def test_a_guided_walk_is_said_to_be_one(model):
    speed = api.bench_drawing(
        loaded := api.load(model, device="cpu"),
        loaded.settings.sampling.model_copy(update={"steps": 1, "guidance": 2.0}),
        seconds=0.05,
    )
    assert speed.values["guided"] is True
    assert any("Guidance asks" in sentence for sentence in speed.advice)


def test_others_are_blamed_for_what_they_do_now_alone(model, monkeypatch):
    """The load average counts what waits, and the last minute of this process itself."""
    loaded = api.load(model, device="cpu")
    monkeypatch.setattr(psutil, "getloadavg", lambda: (99.0, 99.0, 99.0))
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: time.sleep(0.05) or 0.0)
    assert not any("Other" in line for line in api.bench_drawing(loaded, seconds=0.01).advice)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: time.sleep(0.05) or 100.0)
    assert any("Other" in line for line in api.bench_drawing(loaded, seconds=0.01).advice)


def test_a_batch_that_does_not_fit_ends_the_search(model, monkeypatch):
    loaded, own = api.load(model, device="cpu"), Model.sample

    def small(self, count, **named):
        if count > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, count, **named)

    monkeypatch.setattr(Model, "sample", small)
    monkeypatch.setattr("loang.bench.drawing.LONGEST", 1e9)  # however busy the machine is
    assert list(api.bench_drawing(loaded, seconds=0.05).values["rates"]) == [1, 4]
    monkeypatch.setattr(device, "out_of_memory", lambda error: False)
    with pytest.raises(torch.OutOfMemoryError):
        api.bench_drawing(loaded, seconds=0.05)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9"])
def test_times_that_measure_nothing_are_refused(said, model, data, seconds):
    for line in (("sample", model), ("train", data)):
        status, _, error = said(*line, "--seconds", seconds)
        assert status == 2
        assert "Nothing can be measured" in error


def test_a_place_that_cant_be_written_is_told_before_anything_is_measured(
    said, model, data, tmp_path, monkeypatch
):
    for verb in ("training", "drawing"):
        monkeypatch.setattr(api, f"bench_{verb}", lambda *_, **__: pytest.fail("measured"))
    for line in (("sample", model), ("train", data)):
        for out in (data / "speed.json", tmp_path):
            status, _, error = said(*line, "--out", out)
            assert status == 2
            assert "can't be" in error


def test_what_was_measured_is_printed_though_it_cant_be_written_any_more(
    said, model, tmp_path, monkeypatch
):
    speed = api.Speed(["20 images a second"], [], {"rate": 20})

    def measure(*_, **__):
        (tmp_path / "there").rmdir()
        (tmp_path / "there").write_text("a file")
        return speed

    monkeypatch.setattr(api, "bench_drawing", measure)
    for json_too, printed in (((), "20 images a second"), (("--json",), '"rate": 20')):
        (tmp_path / "there").unlink(missing_ok=True)
        (tmp_path / "there").mkdir()
        status, out, error = said("sample", model, *json_too, "--out", tmp_path / "there" / "a")
        assert status == 2
        assert printed in out
        assert "can't be written" in error


def test_mistakes_are_told(said, tmp_path):
    assert "There is no model" in said("sample", tmp_path / "none")[2]
    assert said("train", "--preset", "quik")[0] == 2


def test_nothing_is_measured_of_what_has_no_such_walk(model):
    loaded = api.load(model, device="cpu")
    way = loaded.settings.sampling.model_copy(update={"levels": (0.2, 0.5)})
    with pytest.raises(LoangError):
        api.bench_drawing(loaded, way, seconds=0.05)
