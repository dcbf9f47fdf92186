"""A run on the hub and back: the same model and images, a card that holds, nothing private.

Against a server on this machine that speaks what huggingface_hub asks of the hub.
"""

import contextlib
import functools
import itertools
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import loang
from checking import unchecked
from loang import config
from loang.cli.app import app
from loang.errors import LoangError, LoangWarning
from loang.evaluation.asked import Asked
from loang.hub import models
from loang.hub.address import is_hub, parse
from loang.identity import weights_digest
from loang.interop.hub import card, readme
from loang.interop.hub.command import command
from loang.interop.hub.private import Private, last
from loang.interop.hub.push import ready
from loang.presets import quick, tutorial
from loang.training.asked import resolve

constants = pytest.importorskip("huggingface_hub.constants")
from hub_server import Hub, problems, serving  # noqa: E402
from huggingface_hub import ModelCard  # noqa: E402

# huggingface_hub's own, of the library that it asks with.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TINY = (
    "network.width=8",
    "network.multipliers=[1]",
    "network.attention=[]",
    "network.heads=1",
    "training.batch=8",
    "training.precision=float32",
    "training.reports=1",
    "sampling.steps=3",
)
_KEPT: dict[Path, Callable] = {}
"""Of a run that nothing changes, what is ready to be sent: that takes longer than sending it."""
SECRET = "alice"
"""Of every folder on the way to the images and to the run."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that was trained and measured on images in somebody's folder."""
    folder = tmp_path_factory.mktemp("home") / SECRET / "my pictures"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.integers(0, 100, (120, 8, 8)) + 120 * labels[:, None, None]
    np.savez(folder / "blobs.npz", images=images.astype(np.uint8), labels=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOANG_CACHE", str(folder / "cache"))
        loang.train(
            folder / "blobs.npz", out=folder / "tiny", budget="64 images", changes=TINY, seed=0
        )
        loang.evaluate(
            folder / "tiny",
            folder / "blobs.npz",
            asked=Asked(12, ("pixels",)),
            out=folder / "tiny" / "evaluation",
            command=f"loang evaluate {folder}/tiny {folder}/blobs.npz --features pixels -n 12",
        )
    with contextlib.ExitStack() as stack:
        _KEPT[folder / "tiny"] = functools.cache(
            lambda *named, **options: stack.enter_context(ready(*named, **options))
        )
        yield folder / "tiny"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """One that a test may change."""
    return shutil.copytree(trained, tmp_path / SECRET / "tiny")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.delenv("LOANG_OFFLINE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
        yield server


def push(run: Path, repo: str = "me/tiny", **options):
    names = "private", "message", "overwrite"
    sending = {name: options.pop(name) for name in names if name in options}
    if run in _KEPT:
        return _KEPT[run](run, repo, **options).send(**sending)
    with ready(run, repo, **options) as prepared:
        return prepared.send(**sending)


def files(hub: Hub, repo: str = "me/tiny", revision: str = "main") -> dict[str, bytes]:
    return hub.repos[repo][revision]


def front(content: bytes) -> dict:
    return yaml.safe_load(content.decode().split("---\n")[1])


def test_what_comes_back_is_the_same_model_and_draws_the_same_images(
    hub: Hub, trained: Path
) -> None:
    push(trained)
    there, here = loang.load("hub:me/tiny", device="cpu"), loang.load(trained, device="cpu")
    assert weights_digest(there) == weights_digest(here)
    np.testing.assert_array_equal(there.sample(5, seed=3), here.sample(5, seed=3))
    for name in ("samples.png", "walk.gif", "training.png"):
        assert files(hub)[name] == (trained / name).read_bytes()
    assert hub.gets("/resolve/main/model.safetensors") == 1
    assert not hub.gets("config.json")  # the model's file is all that is fetched


def test_the_command_line_sends_and_samples(hub: Hub, trained: Path, tmp_path: Path) -> None:
    def lines(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    said = lines("push", str(trained), "me/tiny", "--license", "mit", "--message", "First")
    assert "loang sample hub:me/tiny" in said
    assert hub.messages == ["First"]
    for name, model in (("there", "hub:me/tiny"), ("here", str(trained))):
        lines("sample", model, "-n", "3", "--out", str(tmp_path / f"{name}.npy"))
    np.testing.assert_array_equal(*(np.load(tmp_path / f"{n}.npy") for n in ("there", "here")))
    assert "Nothing has changed" in lines("push", str(trained), "me/tiny")


def test_a_dry_run_shows_all_and_asks_nothing(hub: Hub, trained: Path) -> None:
    done = CliRunner().invoke(app, ["push", str(trained), "me/tiny", "--dry-run"])
    assert done.exit_code == 0
    assert hub.asked == []
    push(trained)
    shown = [line.split("  ")[1] for line in done.output.splitlines() if line.startswith("  ")]
    assert set(files(hub)) - {".gitattributes"} <= set(shown)
    assert files(hub)["README.md"].decode() in done.output


def test_nothing_that_is_sent_tells_of_somebodys_folders(hub: Hub, trained: Path) -> None:
    own = [trained / name for name in ("model.safetensors", "config.json", "evaluation/report.md")]
    assert all(SECRET.encode() in path.read_bytes() for path in own)  # there is something to hide
    push(trained)
    for name, content in files(hub).items():
        assert SECRET.encode() not in content, name
        assert b"my pictures" not in content, name
    assert set(files(hub)) == {
        *(".gitattributes", "README.md", "model.safetensors", "config.json"),
        *("samples.png", "walk.gif", "training.png"),
        *("evaluation/report.json", "evaluation/report.md"),  # its page shows training images
    }
    assert "report.png" not in files(hub)["evaluation/report.md"].decode()
    assert loang.load("hub:me/tiny").settings.data.source == "blobs.npz"
    assert json.loads(files(hub)["config.json"])["places"] == {}


def test_images_of_an_evaluation_that_lie_elsewhere_are_not_told(hub: Hub, run: Path) -> None:
    path, page = run / "evaluation/report.json", run / "evaluation/report.md"
    report = json.loads(path.read_text())
    old = report["provenance"]["command"]
    new = "loang evaluate nest/alice/tiny 'nest/alice smith/imgs.npy' -n 12"
    report["data"]["source"] = "nest/alice smith/imgs.npy"
    report["provenance"]["command"] = new
    report["notices"] = ["3 images of nest/alice smith/imgs.npy are alike."]
    path.write_text(json.dumps(report))
    page.write_text(page.read_text().replace(old, new))
    push(run)
    assert all(SECRET.encode() not in content for content in files(hub).values())
    sent = json.loads(files(hub)["evaluation/report.json"])
    assert sent["data"]["source"] == "imgs.npy"
    assert sent["notices"] == ["3 images of imgs.npy are alike."]
    for name in ("README.md", "evaluation/report.md"):
        assert "`loang evaluate tiny imgs.npy -n 12`" in files(hub)[name].decode()


def test_the_card_holds_by_the_hubs_rules_and_has_what_was_measured(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(trained, license="cc-by-4.0")
    content = files(hub)["README.md"].decode()
    assert problems(content) == []
    card = ModelCard(content)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)  # read when it was imported
    card.validate()
    data = card.data
    assert (data.license, data.library_name) == ("cc-by-4.0", "loang")
    assert data.pipeline_tag == "unconditional-image-generation"
    assert {"diffusion", "loang", "class-conditional"} <= set(data.tags)
    assert data.datasets is None  # nobody else has these images
    report = json.loads((trained / "evaluation/report.json").read_text())
    columns = report["spaces"][0]["columns"]
    assert {result.metric_type for result in data.eval_results} >= {"frechet", "kid"}
    for result in data.eval_results:
        ours, floor = columns["samples"][result.metric_type], columns["floor"][result.metric_type]
        assert result.metric_value == ours["value"]
        assert result.metric_args["error"] == ours["error"]
        assert result.metric_args["floor"] == floor["value"]
        assert result.metric_args["floor_error"] == floor["error"]
        assert "other real images" in result.metric_name
    for said in ("±", "pixel Gaussian", "loang sample hub:me/tiny", 'loang.load("hub:me/tiny")'):
        assert said in content
    for name in files(hub):
        assert f"`{name}`" in content or name in (".gitattributes", "README.md")


def test_what_was_not_measured_is_not_claimed(hub: Hub, run: Path) -> None:
    shutil.rmtree(run / "evaluation")
    push(run)
    card = files(hub)["README.md"].decode()
    assert "Not evaluated" in card
    assert "model-index" not in front(files(hub)["README.md"])
    assert "license" not in front(files(hub)["README.md"])
    assert problems(card) == []


def test_an_evaluation_of_other_weights_is_not_sent(hub: Hub, run: Path) -> None:
    path = run / "evaluation/report.json"
    path.write_text(
        path.read_text().replace(json.loads(path.read_text())["subject"]["weights"], "0")
    )
    with ready(run, "me/tiny") as prepared:
        assert "other weights" in " ".join(prepared.contents.notices)
        prepared.send()
    assert not [name for name in files(hub) if name.startswith("evaluation")]
    assert "Not evaluated" in files(hub)["README.md"].decode()


def test_links_and_what_is_no_picture_stay(hub: Hub, run: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"a secret of somebody's")
    for name in ("samples.png", "evaluation/report.png"):
        (run / name).unlink()
        (run / name).symlink_to(tmp_path / "key")
    (run / "walk.gif").write_bytes(b"a secret of somebody's")
    done = push(run)
    assert not {"samples.png", "walk.gif", "evaluation/report.png"} & set(done.sent)
    assert all(b"a secret" not in content for content in files(hub).values())
    (run / "evaluation/report.md").unlink()
    (run / "evaluation/report.md").symlink_to(tmp_path / "key")
    with pytest.raises(LoangError, match=r"report\.md is a link"):
        push(run)


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"subject": {}, "data": 3}'])
def test_a_damaged_evaluation_is_told(run: Path, content: bytes) -> None:
    (run / "evaluation/report.json").write_bytes(content)
    with pytest.raises(LoangError, match=r"can't be read.*loang evaluate"), ready(run, "me/tiny"):
        pass


def test_an_evaluation_that_lacks_something_is_told(run: Path) -> None:
    path = run / "evaluation/report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"spaces": [{"name": 3}]}))
    with pytest.raises(LoangError, match="not as loang writes it"), ready(run, "me/tiny"):
        pass


def test_a_known_data_set_is_named_with_its_licence(hub: Hub, tmp_path: Path) -> None:
    push(Path("built-in"), "me/clothes")
    metadata = front(files(hub, "me/clothes")["README.md"])
    assert metadata["datasets"] == ["zalando-datasets/fashion_mnist"]
    card = files(hub, "me/clothes")["README.md"].decode()
    assert "data's own is MIT" in card
    assert problems(card) == []
    built_in = Path(loang.__file__).parent / "assets/fashion-mnist-model.safetensors"
    assert files(hub, "me/clothes")["model.safetensors"] == built_in.read_bytes()


def test_a_second_push_sends_what_has_changed_alone(hub: Hub, run: Path) -> None:
    first = push(run)
    assert set(first.sent) == set(files(hub)) - {".gitattributes"}
    hub.received.clear()
    assert push(run).sent == ()
    assert hub.received == []
    (run / "samples.png").write_bytes((run / "training.png").read_bytes())
    assert push(run).sent == ("samples.png",)
    assert len(hub.messages) == 2


@pytest.mark.parametrize("license", [None, "mit"])
def test_a_card_that_says_the_same_is_the_same_file(hub: Hub, license: str | None) -> None:
    assert "README.md" in push(Path("built-in"), "me/clothes", license=license).sent
    assert push(Path("built-in"), "me/clothes", license=license).sent == ()


def test_what_others_wrote_stays(hub: Hub, run: Path) -> None:
    push(run, license="mit")
    mine = files(hub)
    mine["notes.txt"] = b"mine"
    card = mine["README.md"].decode()
    card = card.replace("license: mit", "license: apache-2.0\nlanguage: en")
    card = card.replace("- diffusion", "- fancy\n- diffusion")
    card = card.replace("- `config.json`:", "- `notes.txt`: not a push's\n- `config.json`:")
    mine["README.md"] = (
        card.replace(readme.BEGIN, f"Before.\n\n{readme.BEGIN}").encode() + b"After.\n"
    )
    shutil.rmtree(run / "evaluation")
    done = push(run)
    assert set(done.removed) == {"evaluation/report.json", "evaluation/report.md"}
    assert files(hub)["notes.txt"] == b"mine"
    text, metadata = files(hub)["README.md"].decode(), front(files(hub)["README.md"])
    assert (metadata["license"], metadata["language"]) == ("apache-2.0", "en")
    assert metadata["tags"].count("diffusion") == 1
    assert "fancy" in metadata["tags"]
    assert "model-index" not in metadata  # its numbers were of an evaluation that is gone
    assert text.index("Before.") < text.index(readme.BEGIN) < text.index("After.")
    assert "licence is `apache-2.0`" in text
    assert push(run).sent == ()


def test_files_that_no_push_has_written_are_not_replaced(hub: Hub, run: Path) -> None:
    theirs = {"model.safetensors": b"another", "README.md": b"---\nlicense: mit\n---\nTheirs.\n"}
    hub.repos["me/tiny"] = {"main": dict(theirs)}
    with pytest.raises(LoangError, match=r"no `loang push` has written: model\.safetensors"):
        push(run)
    assert files(hub) == theirs
    push(run, overwrite=True)
    assert "Theirs." in files(hub)["README.md"].decode()
    np.testing.assert_array_equal(loang.load("hub:me/tiny").sample(2), loang.load(run).sample(2))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"---\na: [\n---\n",
        b"---\n- a\n---\n",
        b"---\na: &a [1]\nb: [*a, *a]\n---\n",
        b"---\n" + b"[" * 50000 + b"\n---\n",
        b"---\n" + b"- " * 5000 + b"\n---\n",
        b"x" * (readme.LARGEST + 1),
    ],
    ids=["no text", "no YAML", "a list", "aliases", "deep", "deep lists", "large"],
)
def test_a_card_that_can_not_be_read_is_told_and_stays(
    hub: Hub, trained: Path, content: bytes
) -> None:
    hub.repos["me/tiny"] = {"main": {"README.md": content}}
    with pytest.raises(LoangError, match=r"README\.md of hub:me/tiny") as told:
        push(trained)
    assert "\n" not in str(told.value)
    assert files(hub) == {"README.md": content}


def test_a_branch_and_a_revision(hub: Hub, run: Path) -> None:
    push(run)
    shutil.rmtree(run / "evaluation")
    push(run, revision="v2")
    assert "evaluation/report.md" in files(hub)
    assert "evaluation/report.md" not in files(hub, revision="v2")
    assert "hub:me/tiny@v2" in files(hub, revision="v2")["README.md"].decode()
    np.testing.assert_array_equal(loang.load("hub:me/tiny@v2").sample(2), loang.load(run).sample(2))
    with pytest.raises(LoangError, match="has no revision v9"):
        loang.load("hub:me/tiny@v9")


def test_a_private_one_is_private_and_a_public_one_never_gets_what_should_be(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(trained, "me/hidden", private=True)
    assert hub.private == {"me/hidden"}
    loang.load("hub:me/hidden")
    push(trained, "me/open")
    with pytest.raises(LoangError, match="anybody can see it"):
        push(trained, "me/open", private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    shutil.rmtree(constants.HF_HUB_CACHE)
    with pytest.raises(LoangError, match="no model me/hidden on the hub, or it is private"):
        loang.load("hub:me/hidden")


def test_a_repository_of_another(hub: Hub, trained: Path) -> None:
    hub.repos["other/tiny"] = {"main": {}}
    with pytest.raises(LoangError, match=r"may not write to other/tiny \(HTTP 403\)"):
        push(trained, "other/tiny")
    with pytest.raises(LoangError, match=r"may not write to other/new \(HTTP 403\)"):
        push(trained, "other/new")
    assert hub.repos == {"other/tiny": {"main": {}}}


@pytest.mark.parametrize(
    ("part", "status", "message"),
    [
        ("/api/models/me/tiny", 401, "Log in|log in"),
        ("/api/repos/create", 401, "does not take the token.*log in"),
        ("/api/repos/create", 409, "belongs to another"),
        ("/commit/", 403, "may not write"),
        ("/commit/", 404, "may not see it"),
        ("/commit/", 409, "run this again"),
        ("/commit/", 412, "run this again"),
        ("/commit/", 500, r"trouble of its own \(HTTP 500\)"),
        ("/objects/batch", 503, r"trouble of its own \(HTTP 503\).*not sent twice"),
        ("/preupload/", 429, "Wait a little"),
        ("/objects/", 413, "of that size|not sent"),
    ],
)
def test_refusals_are_told_in_two_sentences(
    hub: Hub, trained: Path, part: str, status: int, message: str
) -> None:
    hub.refused[part] = status, "No.\nReally not."
    with pytest.raises(LoangError, match=message) as told:
        push(trained)
    assert "\n" not in str(told.value)
    assert "hf_secret" not in str(told.value)
    assert "model.safetensors" not in hub.repos.get("me/tiny", {"main": {}})["main"]


def test_a_licence_that_the_hub_does_not_know_is_told_before_anything_is_sent(
    hub: Hub, trained: Path
) -> None:
    with pytest.raises(LoangError, match=r"does not take what is sent.*license"):
        push(trained, license="my-own")
    assert hub.received == []
    with pytest.raises(LoangError, match="no name of a licence"):
        push(trained, license="My own")


@pytest.mark.parametrize("part", ["/objects/", "/commit/"])
def test_an_upload_that_breaks_off_is_gone_on_with(hub: Hub, trained: Path, part: str) -> None:
    hub.cut.add(part)
    with pytest.raises(LoangError, match=r"could not be sent.*run this again"):
        push(trained)
    assert set(files(hub)) == {".gitattributes"}  # all of it, or nothing
    hub.cut.clear()
    arrived = set(hub.received)
    hub.received.clear()
    push(trained)
    assert not arrived & set(hub.received)
    loang.load("hub:me/tiny")


def test_an_upload_that_a_person_stops_says_that_it_can_be_gone_on_with(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.HfApi.create_commit", stop)
    done = CliRunner().invoke(app, ["push", str(trained), "me/tiny"])
    assert done.exit_code != 0
    assert "what was sent is kept" in done.stderr


def test_nobody_logged_in(hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(trained / "none"))
    with pytest.raises(LoangError, match=r"Nobody is logged in.*hf auth login"):
        push(trained)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["LOANG_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path
) -> None:
    push(trained)
    loang.load("hub:me/tiny")
    hub.asked.clear()
    monkeypatch.setenv(name, "1")
    with pytest.raises(LoangError, match="network is switched off"):
        push(trained)
    np.testing.assert_array_equal(
        loang.load("hub:me/tiny").sample(2), loang.load(trained).sample(2)
    )
    with pytest.raises(LoangError, match="not in the cache, and the network is switched off"):
        loang.load("hub:me/else")
    assert hub.asked == []


def test_where_the_network_fails_what_was_kept_is_taken_with_a_warning(
    hub: Hub, trained: Path
) -> None:
    push(trained)
    before = loang.load("hub:me/tiny").sample(2)
    hub.refused["/resolve/"] = 503, "down"
    with pytest.warns(LoangWarning, match="can't be reached: hub:me/tiny is as it was kept"):
        after = loang.load("hub:me/tiny").sample(2)
    np.testing.assert_array_equal(before, after)
    with pytest.raises(LoangError, match="could not be fetched"):
        loang.load("hub:me/else")


def test_a_newer_one_is_fetched_and_the_same_is_not(hub: Hub, run: Path) -> None:
    push(run)
    for _ in range(2):
        loang.load("hub:me/tiny")
    assert hub.gets("/resolve/main/model.safetensors") == 1
    model = loang.load(run, device="cpu")
    with contextlib.suppress(StopIteration):
        next(model.denoiser.parameters()).data.add_(1)
    model.save(run / "model.safetensors")
    shutil.rmtree(run / "evaluation")
    push(run)
    assert weights_digest(loang.load("hub:me/tiny", device="cpu")) == weights_digest(model)


def test_a_download_that_breaks_off_is_told(hub: Hub, trained: Path) -> None:
    push(trained)
    hub.cut.add("half a download")
    with pytest.raises(LoangError, match=r"could not be fetched.*run this again"):
        loang.load("hub:me/tiny")
    hub.cut.clear()
    np.testing.assert_array_equal(
        loang.load("hub:me/tiny").sample(2), loang.load(trained).sample(2)
    )


@pytest.mark.parametrize(
    ("announced", "message"),
    [(2**41, "are the most that is read"), (2**39, "of the disk|of memory")],
)
def test_what_is_too_large_is_not_downloaded(
    hub: Hub, trained: Path, announced: int, message: str
) -> None:
    push(trained)
    hub.announced = announced
    with pytest.raises(LoangError, match=message):
        loang.load("hub:me/tiny")
    assert hub.gets("/resolve/main/model.safetensors") == 0


def test_what_does_not_fit_in_memory_is_not_downloaded(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(trained)
    monkeypatch.setattr(models, "_TO_READ", 2**40)
    with pytest.raises(LoangError, match="of memory"):
        loang.load("hub:me/tiny")
    assert hub.gets("/resolve/main/model.safetensors") == 0


def test_what_is_no_model_of_loangs(hub: Hub) -> None:
    hub.repos["you/text"] = {"main": {"a.txt": b"x"}}
    with pytest.raises(LoangError, match=r"hub:you/text has no model\.safetensors"):
        loang.load("hub:you/text")
    hub.repos["you/other"] = {"main": {"model.safetensors": b"\x08" + b"\0" * 7 + b"{}      "}}
    with pytest.raises(LoangError, match="not a model of loang's"):
        loang.load("hub:you/other")
    hub.repos["you/pickle"] = {"main": {"model.safetensors": b"\x80\x04cos\nsystem\n"}}
    with pytest.raises(LoangError, match="not a model of loang's"):
        loang.load("hub:you/pickle")
    with pytest.raises(LoangError, match=r"no model you/tex on.*Did you mean hub:you/text"):
        loang.load("hub:you/tex")


def test_the_other_verbs_take_it_too(hub: Hub, trained: Path, tmp_path: Path) -> None:
    push(trained)
    report = loang.evaluate(
        "hub:me/tiny", trained.parent / "blobs.npz", asked=Asked(12, ("pixels",))
    )
    assert report.subject["name"] == "hub:me/tiny"
    known = json.loads((trained / "evaluation/report.json").read_text())
    assert report.subject["weights"] == known["subject"]["weights"]
    assert report.to_dict()["spaces"][0]["columns"]["samples"]["frechet"]["value"] == pytest.approx(
        known["spaces"][0]["columns"]["samples"]["frechet"]["value"]
    )


def test_a_model_that_is_on_the_hub_is_not_pushed_again(hub: Hub, trained: Path) -> None:
    push(trained)
    with pytest.raises(LoangError, match="on the hub already"), ready("hub:me/tiny", "me/b"):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b@../x",
        "a/b@",
        "a/b/c",
        "/a",
        "a/",
        "a b/c",
        "a--b/c",
        "a/b..c",
        "a/b.git",
        "-a/b",
        "a/" + "b" * 97,
    ],
)
def test_names_that_the_hub_does_not_allow(trained: Path, name: str) -> None:
    with pytest.raises(LoangError, match="names no model of the hub"), ready(trained, name):
        pass
    with pytest.raises(LoangError, match="names no model of the hub"):
        loang.load(f"hub:{name}")


def test_names() -> None:
    assert is_hub("hub:a/b")
    assert is_hub(Path("hub:a/b"))
    assert not is_hub("a/b")
    assert parse("hub:a-1/b.c_d@refs/pr/1").revision == "refs/pr/1"
    assert parse("a/b").repo == "a/b"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("loang evaluate /data/al/x.npz -n 3", "loang evaluate x.npz -n 3"),
        ("of /mnt/some where/cats, there", "of cats, there"),
        ("https://huggingface.co/me/x and 1/2", "https://huggingface.co/me/x and 1/2"),
        (r"C:\Users\al\cats", "cats"),
        ("~/al/cats 'runs/x'", "cats 'runs/x'"),
        ("T-shirt/top", "T-shirt/top"),
    ],
)
def test_folders_are_taken_out_of_texts_and_nothing_else_is(said: str, left: str) -> None:
    assert Private(["/mnt/some where/cats"]).text(said) == left


def test_names_of_data_stay() -> None:
    for name in ("fashion-mnist", "hub:me/x", "https://a/b", None):
        assert last(name) == name
    assert last("../al/cats/") == "cats"


@pytest.mark.parametrize(
    "settings",
    [
        config.changed(quick(), [*TINY, "data.source=al's pictures", "data.size=[8,12]"]),
        config.changed(tutorial(), ["training.budget=2h 30m", "ema.snapshots=3"]),
        config.changed(quick(), ["network.kind=tutorial", "data.size=32,32"]),
        config.changed(quick(), ["network.kind=denoising-diffusion", "data.labels=false"]),
    ],
)
def test_the_command_on_the_card_means_the_same_settings(settings) -> None:
    words = shlex.split(command(settings).replace("\\\n", " "))
    assert words[:2] == ["loang", "train"]
    where = words.index("--preset")
    changes = [word for before, word in itertools.pairwise(words) if before == "--set"]
    assert resolve(words[2], preset=words[where + 1], changes=changes) == settings


@pytest.mark.parametrize("fact", [None, "lengths", "started_from"])
def test_a_command_is_told_where_it_makes_the_run_again_and_nowhere_else(fact: str | None) -> None:
    facts = {"hardware": "CPU", **({} if fact is None else {fact: "more than settings say"})}
    contents = SimpleNamespace(model=SimpleNamespace(facts=facts, settings=quick()), names=set())
    with unchecked():  # of a model only its facts and settings are looked at
        said = "".join(card._made(contents))
    assert ("loang train" in said) is (fact is None)


def test_neither_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, loang, loang.cli.app, loang.named;"
        "print([name for name in ('torch', 'huggingface_hub', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
