"""A model: the same samples whatever is drawn beside them, and one file that holds all of it."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from answering import answering
from in_steps import IN_STEPS
from loang import build, drawing, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.data.scaling import to_model, to_pixels
from loang.errors import LoangError
from loang.model import Model

SPEC = ImageSpec(8, 12, 3, class_names=("boot", "bag", "ankle boot"))


@pytest.fixture
def model():
    settings = changed(
        presets.quick(),
        [
            "network.width=8",
            "network.multipliers=1,1",
            "network.heads=1",
            "sampling.steps=6",
            *IN_STEPS,
        ],
    )
    return answering(settings, SPEC, {"step": 3})


@pytest.mark.parametrize(
    ("sampler", "eta"),
    [("ddpm", None), ("ddim", 0.0), ("ddim", 1.0), ("dpmpp-2m-sde", None)],
)
def test_a_sample_does_not_depend_on_how_many_are_drawn_with_it(model, sampler, eta):
    sampling = drawing.sampling(model, sampler=sampler, eta=eta)
    asked = {"sampling": sampling, "precision": "float32"}
    together = list(model.walk(range(7), seed=5, **asked))[-1].x
    apart = torch.cat([list(model.walk([index], seed=5, **asked))[-1].x for index in range(7)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=0)
    other = list(model.walk(range(7), seed=6, **asked))[-1].x
    assert (together - other).abs().max() > 0.1


def test_batches_give_the_same_images(model):
    one, other = (model.sample(5, batch=batch, precision="float32") for batch in (5, 2))
    assert abs(one.astype(int) - other.astype(int)).max() <= 1


def test_samples_come_as_the_training_images_were(model):
    images = model.sample(2)
    assert images.shape == (2, 8, 12, 3)
    assert images.dtype == np.uint8


def test_sampling_leaves_the_mode_as_it_was_and_dropout_out_of_it(model):
    model.denoiser.train()
    walk = model.walk([0])
    next(walk)
    assert not model.denoiser.training
    walk.close()
    assert model.denoiser.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_walk_leaves_no_mode_behind_it_between_its_steps(model):
    for _ in model.walk([0]):
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_a_walk_can_be_taken_up_at_any_of_its_levels(model):
    states = list(model.walk(range(3), seed=2, precision="float32"))
    half = [state.t for state in states[3:]]
    again = list(model.walk(range(3), start=states[3].x, levels=half, precision="float32"))
    assert [state.t for state in again] == half
    torch.testing.assert_close(again[-1].x, states[-1].x, atol=1e-6, rtol=0)


def test_a_guide_is_put_into_evaluation_mode_and_back_as_well(model):
    guide = copy.deepcopy(model)
    guide.denoiser.train()
    walk = model.walk([0], sampling=drawing.sampling(model, guidance=2.0, guide=guide), guide=guide)
    next(walk)
    assert not guide.denoiser.training
    walk.close()
    assert guide.denoiser.training


def test_guided_by_itself_it_is_itself(model):
    sampling = drawing.sampling(model, guidance=3.0, guide=model)
    asked = {"seed": 1, "precision": "float32"}
    *_, guided = model.walk(range(2), sampling=sampling, guide=model, **asked)
    *_, plain = model.walk(range(2), **asked)
    torch.testing.assert_close(guided.x, plain.x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_self_conditioned_network_is_shown_what_each_walk_saw_last(model, guidance):
    settings = changed(model.settings, ["network.self_conditioning=true"])
    denoiser = build.build_denoiser(settings, SPEC)
    shown = []
    forward = denoiser.network.forward

    def record(*inputs, given=None):
        shown.append(given)
        return forward(*inputs, given=given)

    denoiser.network.forward = record
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.05
    conditioned = Model(denoiser, SPEC, settings)
    sampling = drawing.sampling(conditioned, guidance=guidance)
    for _ in range(2):  # nothing is left of the walk before
        shown.clear()
        states = list(conditioned.walk(range(2), sampling=sampling, precision="float32"))
        assert len(shown) == len(states) - 1
        assert not shown[0].any()
        for state, given in zip(states[:-2], shown[1:], strict=True):
            assert torch.equal(given[:2], state.x0)
            assert torch.equal(given[-2:], state.x0)


def test_saved_and_loaded_is_the_same_model(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    for place in (tmp_path, tmp_path / "model.safetensors"):
        again = Model.load(place, on="cpu")
        assert again.spec == SPEC
        assert again.settings == model.settings
        assert again.facts == {"step": 3}
        np.testing.assert_array_equal(again.sample(3), model.sample(3))


def test_a_damaged_or_foreign_file_is_an_error_for_people(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(LoangError, match="not a model of loang's, or is damaged"):
            Model.load(path)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(LoangError, match="not a model"):
        Model.load(path)
    about = {"format": 99}
    save_file({"w": torch.zeros(1)}, path, metadata={"loang": json.dumps(about)})
    with pytest.raises(LoangError, match="has the format 99"):
        Model.load(path)


def test_a_class_is_found_by_its_name_or_number(model):
    assert model.class_index("boot") == 0
    assert model.class_index("BAG") == 1
    assert model.class_index("bags") == 1
    assert model.class_index("ankle") == 2
    assert model.class_index("2") == 2
    for name in ("boots", "hat", "9", ""):
        with pytest.raises(LoangError, match="boot, bag, ankle boot"):
            model.class_index(name)


@pytest.mark.parametrize(
    ("depth", "low", "high"),
    [("uint8", 0, 255), ("uint16", 0, 65535), ("uint16", 100, 900), ("float32", -2.0, 3.0)],
)
def test_stored_values_come_back_from_the_networks_range(depth, low, high):
    spec = ImageSpec(3, 4, 2, depth, float(low), float(high))
    rng = np.random.default_rng(0)
    pixels = (low + (high - low) * rng.random((5, 3, 4, 2))).astype(depth)
    x = to_model(pixels, spec)
    assert x.shape == (5, 2, 3, 4)
    assert x.abs().max() <= 1 + 1e-6
    tolerance = 1e-5 if depth == "float32" else 0
    np.testing.assert_allclose(to_pixels(x, spec), pixels, atol=tolerance)
    ends = np.array([low, high], depth).reshape(1, 1, 2, 1).repeat(2, 3)
    assert to_model(ends, ImageSpec(1, 2, 2, depth, float(low), float(high))).unique().tolist() == [
        -1.0,
        1.0,
    ]
    assert to_pixels(10 * x, spec).max() <= high


def test_guidance_by_a_label_that_was_never_hidden_is_refused(model):
    """The code for "no label" was never trained then."""
    training = model.settings.training.model_copy(update={"label_dropout": 0.0})
    model.settings = model.settings.model_copy(update={"training": training})
    guided = model.settings.sampling.model_copy(update={"guidance": 2.0})
    for asked in (model.check_guidance, lambda sampling: model.sample(1, sampling=sampling)):
        with pytest.raises(LoangError, match="never seen an image without a label"):
            asked(guided)
    model.check_guidance(guided, guide=copy.deepcopy(model))
    model.sample(1)
