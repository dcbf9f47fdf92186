"""Weights of another model mean in a new network what they meant in the old one."""

import numpy as np
import pytest
import torch
from trainers import TINY

from loang import build, presets
from loang.config import changed
from loang.data import Dataset, Images, ImageSpec
from loang.errors import LoangError
from loang.model import Model
from loang.training import card
from loang.training.inheritance import described, heir, settings_of, told, weights_of
from loang.training.plan import prepare

ABC = ImageSpec(8, 8, 1, class_names=("a", "b", "c"))
NONE = ImageSpec(8, 8, 1)
LABELS = len(ABC.class_names)


def model_of(spec, *changes, preset="quick"):
    """A model whose weights are none of them 0, so that each counts."""
    settings = changed(presets.preset(preset), [*(TINY if preset == "quick" else ()), *changes])
    settings = settings.model_copy(
        update={"network": settings.network.model_copy(update={"fold": 1})}
        if preset == "quick"
        else {}
    )
    denoiser = build.build_denoiser(settings, spec)
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.add_(
                0.1 * torch.randn(weight.shape, generator=torch.manual_seed(weight.numel()))
            )
    return Model(denoiser, spec, settings, {"data": "letters", "images": 1_000})


def heir_of(model, spec, *changes):
    settings = settings_of(model, "pictures", changes=changes)
    denoiser = build.build_denoiser(settings, spec)
    weights = weights_of(model, denoiser.network, spec)
    denoiser.network.load_state_dict(weights)
    return denoiser


def answers(denoiser, label):
    """To four noisy images, of one label or none."""
    x = torch.randn(4, 1, 8, 8, generator=torch.manual_seed(0))
    t = torch.tensor([0.1, 0.4, 0.7, 0.9])
    label = None if label is None else torch.full((4,), label)
    with torch.no_grad():
        return denoiser.eval().predict(x, t, label, None).image


def test_for_the_same_classes_it_is_the_same_model():
    model = model_of(ABC)
    heir = heir_of(model, ABC)
    assert all(map(torch.equal, model.denoiser.parameters(), heir.parameters()))


def test_a_class_is_known_by_its_name_and_so_is_that_there_is_none():
    model = model_of(ABC)
    heir = heir_of(model, ImageSpec(8, 8, 1, class_names=("c", "d", "a", "e")))
    for own, theirs in ((0, 2), (2, 0), (4, LABELS)):
        assert torch.equal(answers(heir, own), answers(model.denoiser, theirs))


def test_new_classes_begin_among_those_that_are_known_and_as_far_apart():
    names = tuple(f"new {number}" for number in range(200))
    model = model_of(ABC)
    heir = heir_of(model, ImageSpec(8, 8, 1, class_names=names))
    known = model.denoiser.network.label.weight[:LABELS].detach()
    new = heir.network.label.weight[:-1].detach()
    apart = (known - known.mean(0)).square().mean().sqrt()
    torch.testing.assert_close(new.mean(0), known.mean(0), rtol=0, atol=float(apart) / 3)
    torch.testing.assert_close((new - new.mean(0)).square().mean().sqrt(), apart, rtol=0.1, atol=0)
    assert torch.equal(heir.network.label.weight[-1], model.denoiser.network.label.weight[-1])
    again = heir_of(model, ImageSpec(8, 8, 1, class_names=names))
    assert torch.equal(again.network.label.weight, heir.network.label.weight)


def test_without_classes_it_answers_as_to_a_hidden_label():
    model = model_of(ABC)
    torch.testing.assert_close(answers(heir_of(model, NONE), None), answers(model.denoiser, LABELS))


def test_labels_of_a_model_that_never_heard_of_any_begin_as_in_a_fresh_network():
    model = model_of(NONE)
    heir, fresh = heir_of(model, ABC), build.build_denoiser(model.settings, ABC)
    assert torch.equal(heir.network.label.weight, fresh.network.label.weight)
    weights = dict(heir.network.named_parameters())
    for name, weight in model.denoiser.network.named_parameters():
        assert torch.equal(weights[name], weight)


def test_where_no_label_was_ever_hidden_the_mean_stands_for_it():
    model = model_of(ABC, "training.label_dropout=0")
    heir = heir_of(model, NONE)
    table = model.denoiser.network.label.weight[:LABELS]
    bias = model.denoiser.network.time.mlp[2].bias
    torch.testing.assert_close(heir.network.time.mlp[2].bias, bias + table.mean(0))


def test_another_network_than_the_unet_is_taken_as_it_is():
    model = model_of(NONE, "network.width=8", preset="tutorial")
    heir = heir_of(model, NONE)
    assert all(map(torch.equal, model.denoiser.parameters(), heir.parameters()))


def test_its_settings_are_the_model_s_but_for_what_is_of_its_images_and_machine():
    model = model_of(
        ABC,
        *("training.device=cuda", "training.budget=9h", "sampling.guidance=1.5"),
        *("optimizer.learning_rate=3e-4", "data.flips=true", "data.fit=pad"),
        *("training.shard=true", "evaluation.guidance_samples=500"),
    )
    settings = settings_of(model, "pictures")
    quick = presets.preset("quick")
    assert settings.network == model.settings.network
    assert settings.optimizer.learning_rate == 3e-4
    assert (settings.data.source, settings.data.fit) == ("pictures", "crop")
    assert settings.data.flips
    assert (settings.data.size, settings.data.channels) == ((8, 8), 1)
    assert (settings.training.budget, settings.training.device) == ("5m", "auto")
    assert not settings.training.shard
    assert settings.sampling == model.settings.sampling  # as long as nothing else is measured
    assert settings.evaluation == quick.evaluation
    asked = settings_of(model, "pictures", budget="1h", size=(16, 24), changes=["ema.length=0.1"])
    assert (asked.training.budget, asked.data.size, asked.ema.length) == ("1h", (16, 24), 0.1)


def test_without_other_images_it_goes_on_with_those_of_the_model():
    model = model_of(ABC, "data.source=letters.npz", "data.fit=pad", "data.labels_file=of.csv")
    assert settings_of(model).data == model.settings.data


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"changes": ["network.width=16"]}, r"network\.width of the model is 8, not 16"),
        ({"changes": ["network.kind=tutorial"]}, r"network\."),
        ({"changes": ["schedule.kind=linear"]}, r"schedule\.kind"),
        ({"changes": ["denoiser.clip=false"]}, r"denoiser\.clip"),
        ({"preset": "quick"}, "Leave --preset away"),
        ({"channels": 3}, "1 channel, uint8, and 3 channels are asked for"),
        ({"changes": ["network.widht=16"]}, "widht"),
    ],
)
def test_what_the_weights_would_not_fit_is_refused(asked, match):
    with pytest.raises(LoangError, match=match):
        settings_of(model_of(ABC), "pictures", **asked)


def test_dropout_may_be_another():
    settings = settings_of(model_of(ABC), "pictures", changes=["network.dropout=0.2"])
    assert settings.network.dropout == 0.2


def test_a_network_that_is_told_more_is_refused():
    with pytest.raises(LoangError, match=r"augmentation\.weight differs"):
        heir_of(model_of(ABC), ABC, "data.flips=true", "data.told=true")


def test_a_student_is_refused():
    model = model_of(ABC, "training.objective=consistency", "sampling.steps=2")
    with pytest.raises(LoangError, match=r"is distilled.*from the model that it was distilled"):
        settings_of(model, "pictures")


def test_what_is_told_of_it():
    model = model_of(ABC)
    said = "It starts from the weights of a model of letters (1,000 images seen)"
    brought = ", to whose size and channels the images are brought."
    assert told(model, ABC, ()) == [said + brought]
    assert told(model, ImageSpec(16, 8, 1), ("d", "e")) == [said + "."]
    assert told(model, ABC, ("a", "d"))[1:] == [
        "Of the 2 classes 1 have names that it knows, and are taken for the same."
    ]
    assert told(model_of(NONE), ABC, ("a", "b"))[1:] == []
    assert described({}) == "a model of which no more is known"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("/home/bob/secret/photos", "photos"),
        ("C:\\Users\\bob\\photos", "photos"),
        (".", "images"),
        ("x\n\n# Free [here](http:evil)\x1b[2J|", "x??? Free ?here??http:evil???2J?"),
    ],
)
def test_a_model_is_described_by_the_name_of_its_images_and_by_nothing_else(data, name):
    assert described({"data": data, "images": 0}) == f"a model of {name} (0 images seen)"


def test_a_range_that_other_tools_have_is_kept():
    spec = ImageSpec(8, 8, 1, low=-255.0, high=255.0)
    assert settings_of(model_of(spec), "pictures").data.range == "unit"
    assert settings_of(model_of(ABC, "data.range=data"), "pictures").data.range == "data"


def test_what_its_labels_guided_is_not_guided_without_any():
    model = model_of(ABC, "sampling.guidance=1.5", "sampling.guidance_interval=[0.2,5]")
    images = Images(np.zeros((4, 8, 8, 1), np.uint8), NONE)
    plan = prepare(settings_of(model, "pictures"), Dataset("x", images, images, "0"))
    assert plan.settings.sampling.guidance == 1.5
    assert heir(plan, model).settings.sampling.guidance == 1
    as_preset = model_of(ABC)
    own = as_preset.settings.model_copy(update={"sampling": presets.quick().sampling})
    as_preset.settings = own
    plan = prepare(settings_of(as_preset, "pictures"), Dataset("x", images, images, "0"))
    assert heir(plan, as_preset).settings.sampling == presets.UNGUIDED


def test_a_stranger_s_words_are_one_cell_of_a_card_s_table():
    model = model_of(ABC)
    model.facts = {"data": "x\n\n# Free [here](http:evil)\x1b[2J|", "started_from": "a | b"}
    rows = card.table(model).splitlines()
    assert all(row.startswith("|") and row.count("|") == 3 for row in rows)
    assert not any(sign in row for row in rows for sign in "#[]\x1b")
