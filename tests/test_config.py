"""Settings: complete, frozen, back from their own dict, and plain about what is wrong."""

import json

import pytest
from pydantic import ValidationError

from in_steps import IN_STEPS
from loang import build
from loang.build import build_denoiser
from loang.config import Settings, TutorialSettings, UNetSettings, changed, load
from loang.data.spec import ImageSpec
from loang.errors import LoangError
from loang.presets import PRESETS, preset
from loang.training.asked import resolve, resume

each_preset = pytest.mark.parametrize("name", sorted(PRESETS))


@each_preset
def test_a_preset_is_named_for_itself_and_comes_back_from_its_dict(name):
    settings = preset(name)
    assert settings.preset == name
    through_json = json.loads(json.dumps(settings.to_dict()))
    assert load(through_json) == settings
    assert load(through_json).to_dict() == settings.to_dict()


@each_preset
def test_every_key_is_written_so_that_a_later_default_changes_no_old_run(name):
    values = preset(name).to_dict()
    for section, made in preset(name):
        if section != "preset":
            assert set(values[section]) == set(type(made).model_fields)


@each_preset
def test_a_preset_is_a_schedule_that_can_be_built_with_its_steps(name):
    settings = preset(name)
    made = build.build_schedule(settings.schedule)
    assert made.T in (settings.schedule.steps, 1.0)  # 1 is a flow's
    assert made.levels(settings.sampling.steps)[0] == made.T


def test_the_tutorial_preset_holds_the_articles_hyperparameters():
    settings = preset("tutorial")
    assert isinstance(settings.network, TutorialSettings)
    assert (settings.data.size, settings.training.batch) == ((32, 32), 256)
    assert (settings.schedule.kind, settings.schedule.steps) == ("linear", 500)
    assert (settings.schedule.beta_start, settings.schedule.beta_end) == (1e-4, 0.02)
    assert settings.training.budget == "50 epochs"
    optimizer = settings.optimizer
    # What one step takes from a weight: theirs subtracts 1e-4 w, torch's learning_rate * decay * w.
    assert optimizer.learning_rate * optimizer.weight_decay == pytest.approx(1e-4, rel=1e-12)


def test_the_cifar_preset_holds_ho_et_als():
    settings = preset("ddpm-cifar10")
    assert (settings.schedule.kind, settings.schedule.steps) == ("linear", 1000)
    assert (settings.optimizer.learning_rate, settings.optimizer.warm_up) == (2e-4, 5000)
    assert (settings.optimizer.clip_norm, settings.optimizer.weight_decay) == (1.0, 0.0)
    assert (settings.ema.kind, settings.ema.decay) == ("constant", 0.9999)
    assert (settings.training.batch, settings.training.budget) == (128, "102400000 images")
    assert 800_000 * 128 == 102_400_000
    assert (settings.network.dropout, settings.data.flips) == (0.1, True)
    assert settings.sampling.variance == "fixed-large"


def test_an_unknown_preset_names_the_nearest_or_all():
    with pytest.raises(LoangError, match="Did you mean tutorial"):
        preset("tutoral")
    with pytest.raises(LoangError, match="quick, tutorial"):
        preset("xyz")


def test_settings_are_frozen():
    settings = preset("quick")
    with pytest.raises(ValidationError, match="frozen"):
        settings.training.batch = 3
    with pytest.raises(ValidationError, match="frozen"):
        settings.training = None


def test_changing_gives_new_settings_and_leaves_the_old():
    before = preset("quick")
    after = changed(before, ["training.batch=3"])
    assert after.training.batch == 3
    assert before.training.batch == preset("quick").training.batch
    assert changed(before, []) == before


@pytest.mark.parametrize(
    ("assignment", "section", "key", "value"),
    [
        ("training.batch=3", "training", "batch", 3),
        ("optimizer.learning_rate=1", "optimizer", "learning_rate", 1.0),
        ("optimizer.learning_rate=3e-4", "optimizer", "learning_rate", 3e-4),
        ("optimizer.clip_norm=null", "optimizer", "clip_norm", None),
        ("data.flips=true", "data", "flips", True),
        ("network.multipliers=[1,2,3]", "network", "multipliers", (1, 2, 3)),
        ("network.multipliers=1,2,3", "network", "multipliers", (1, 2, 3)),
        ("data.size=28,32", "data", "size", (28, 32)),
        ("schedule.kind=sigmoid", "schedule", "kind", "sigmoid"),
        ("schedule.kind = sigmoid", "schedule", "kind", "sigmoid"),
        ("training.budget=50 epochs", "training", "budget", "50 epochs"),
        ("data.source=a=b", "data", "source", "a=b"),
    ],
)
def test_a_value_is_read_as_a_person_means_it(assignment, section, key, value):
    made = changed(preset("quick"), [assignment])
    found = getattr(getattr(made, section), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "meant"),
    [
        ("training.bach=3", "training.batch"),
        ("batch=3", "training.batch"),
        ("optimiser.learning_rate=1", "optimizer.learning_rate"),
        ("network.learning_rate=1", "optimizer.learning_rate"),
        ("sampling.step=1", "sampling.steps"),
        ("training=3", "training."),
    ],
)
def test_an_unknown_key_names_the_nearest(assignment, meant):
    with pytest.raises(LoangError) as caught:
        changed(preset("quick"), [assignment])
    assert assignment.partition("=")[0] in caught.value.problem
    assert f"Did you mean {meant}" in caught.value.remedy


def test_a_key_that_is_near_nothing_names_the_sections():
    with pytest.raises(LoangError, match="The sections are data, schedule, denoiser"):
        changed(preset("quick"), ["zzzzqqq=3"])


def test_an_assignment_without_a_value_says_how_it_is_written():
    with pytest.raises(LoangError, match=r"section\.key=value"):
        changed(preset("quick"), ["training.batch"])


@pytest.mark.parametrize(
    "assignment",
    [
        "training.batch=many",
        "training.batch=1.5",
        "training.batch=true",
        "training.batch=0",
        "training.batch=null",
        "training.batch=",
        "training.batch=[3]",
        "optimizer.learning_rate=-1",
        "optimizer.learning_rate=NaN",
        "optimizer.learning_rate=Infinity",
        "optimizer.learning_rate=1e999",
        "data.size=28",
        "data.size=1,2,3",
        "data.flips=1",
        "data.flips=yes",
        "schedule.kind=straight",
        "schedule.steps=1",
        "ema.length=0.3",
        "network.multipliers=[]",
        "network.dropout=2",
        "network.kind=resnet",
        "network.attention=5",
        "network.attention=[2]",
        "network.heads=5",
        "sampling.steps=1001",
        "sampling.eta=-0.1",
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused_by_its_name(assignment):
    with pytest.raises(LoangError) as caught:
        changed(preset("quick"), [*IN_STEPS, assignment])
    key = "network" if assignment.startswith("network.kind") else assignment.partition("=")[0]
    assert key in caught.value.problem


@pytest.mark.parametrize(
    "assignments",
    [
        ["sampling.steps=1500", "schedule.steps=2000"],
        ["network.attention=[3]", "network.multipliers=[1,2,2,2]"],
        ["network.heads=5", "network.width=40"],
    ],
)
def test_only_the_whole_must_fit_together_so_order_does_not_matter(assignments):
    quick = changed(preset("quick"), IN_STEPS)
    made = changed(quick, assignments)
    assert made == changed(quick, assignments[::-1])
    with pytest.raises(LoangError):
        changed(quick, assignments[:1])


def test_the_last_of_two_values_wins():
    made = changed(preset("quick"), ["training.batch=3", "training.batch=5"])
    assert made.training.batch == 5


def test_another_network_starts_from_its_own_defaults():
    tutorial = changed(preset("quick"), ["network.kind=tutorial"])
    assert tutorial.network == TutorialSettings()
    back = changed(tutorial, ["network.kind=unet", "network.width=32"])
    assert back.network == UNetSettings(width=32)


def test_a_key_of_another_network_is_unknown():
    with pytest.raises(LoangError, match=r"no setting 'network\.blocks'"):
        changed(preset("quick"), ["network.kind=tutorial", "network.blocks=2"])


def test_a_file_with_an_unknown_or_wrong_key_is_refused():
    values = preset("quick").to_dict()
    for section, key, value in [("training", "speed", 3), ("nonsense", "key", 3)]:
        with pytest.raises(LoangError, match="There is no setting"):
            load({**values, section: {**values.get(section, {}), key: value}})
    with pytest.raises(LoangError, match=r"training\.batch"):
        load({**values, "training": {**values["training"], "batch": "64"}})


def test_a_file_without_a_section_takes_its_defaults():
    assert load({}) == Settings()
    assert load({"network": {"kind": "tutorial"}}).network == TutorialSettings()


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, 2.0])
def test_a_beta_that_leaves_nothing_or_everything_is_refused_by_its_name(value):
    with pytest.raises(LoangError, match=r"schedule\.beta_end"):
        changed(preset("tutorial"), [f"schedule.beta_end={value}"])


def test_settings_that_contradict_one_another_are_refused_when_they_are_built():
    pure = changed(
        preset("quick"), [*IN_STEPS, "schedule.zero_terminal_snr=true", "network.width=16"]
    )
    assert build.build_denoiser(pure, ImageSpec(8, 8, 1)).schedule.zero_terminal_snr
    with pytest.raises(LoangError, match="predict v, x0"):
        changed(pure, ["denoiser.predicts=eps"])


@pytest.mark.parametrize(
    "changes",
    [
        ["schedule.kind=linear", "schedule.steps=100000"],
        ["schedule.kind=linear", "schedule.beta_end=0.99"],
        ["optimizer.betas=[1,1]"],
        ["network.width=1"],
    ],
)
def test_what_cannot_be_built_is_an_error_for_people(changes):
    with pytest.raises(LoangError):
        build_denoiser(changed(preset("quick"), changes), ImageSpec(8, 8, 1))


@pytest.mark.parametrize("weighting", ["eps", "min-snr", "p2"])
def test_a_weight_of_nothing_where_walks_begin_is_refused_for_new_runs(weighting):
    changes = ["schedule.zero_terminal_snr=true", f"training.weighting={weighting}", *IN_STEPS]
    with pytest.raises(LoangError, match="counts nothing at pure noise"):
        resolve(changes=changes)
    stored = changed(preset("quick"), changes)  # one that was trained so is still read
    assert resolve(changes=[*changes, "training.weighting=truncated-snr"])
    assert resume(stored) == stored


def test_edms_noise_must_drown_the_image_where_walks_begin():
    with pytest.raises(LoangError, match="can't start"):
        changed(preset("quick"), [*IN_STEPS, "schedule.kind=edm", "schedule.sigma_max=2"])


def test_a_run_of_a_preset_that_was_moved_by_adamw_stays_so():
    """Runs from before there was another kept no word of it; the preset has another since."""
    values = preset("quick").to_dict()
    assert values["optimizer"]["kind"] == "muon"
    del values["optimizer"]["kind"], values["optimizer"]["momentum"]
    assert load(values).optimizer.kind == "adamw"
