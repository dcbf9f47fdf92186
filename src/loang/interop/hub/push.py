"""A run, sent to a repository of the hub: what has changed of it, in one commit."""

import contextlib
import hashlib
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loang
from loang.data.environment import offline
from loang.errors import LoangError
from loang.extras import require
from loang.files import sha256
from loang.hub.address import Address, parse
from loang.hub.trouble import LOG_IN, endpoint, site
from loang.interop.hub import card, readme
from loang.interop.hub.contents import README, Contents, Sent, gather
from loang.interop.hub.readme import Readme
from loang.interop.hub.refusals import told


@dataclass(frozen=True)
class Pushed:
    """What was done.

    Args:
        address: of the model, as `loang sample` takes it.
        url: of its page.
        sent: names of the files that were new or had changed; empty where nothing had.
        removed: names of those that an earlier push had sent, and that hold no longer.
        notices: what the hub says of it.
    """

    address: Address
    url: str
    sent: tuple[str, ...]
    removed: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Push:
    """What is ready to be sent.

    Args:
        address: the repository, and its branch.
        contents: what is sent beside the card.
        license: of the model; None states none, and leaves what the repository states.
    """

    address: Address
    contents: Contents
    license: str | None

    @property
    def files(self) -> tuple[Sent, ...]:
        """All of them, with the card as a new repository gets it."""
        return (self._card(Readme()), *self.contents.files)

    @property
    def readme(self) -> str:
        """The card as a new repository gets it."""
        content = self._card(Readme()).content
        assert isinstance(content, bytes)
        return content.decode()

    def send(
        self, *, private: bool = False, message: str | None = None, overwrite: bool = False
    ) -> Pushed:
        """Send what is new or has changed; all that others have put there stays.

        `HF_ENDPOINT`, `HF_TOKEN` and the like mean what they mean to huggingface_hub, whose own
        store of tokens is the only one that is asked.

        Args:
            private: make a new repository private.
            message: of the commit.
            overwrite: replace a model there that no push has written.

        Raises:
            LoangError: the hub can't be reached or refuses; nobody is logged in; or files are there
                that would be replaced, and no push has written them.
        """
        hub = require("huggingface_hub", extra="hub", purpose="to push to the hub")
        if offline():
            raise LoangError(
                "The network is switched off.", "Run this without LOANG_OFFLINE and HF_HUB_OFFLINE."
            )
        if not hub.get_token():
            raise LoangError(
                "Nobody is logged in to the hub here.", f"{LOG_IN[0].upper()}{LOG_IN[1:]}."
            )
        with told(self.address), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            done = self._send(hub.HfApi(endpoint=endpoint()), private, message, overwrite)
        notices = dict.fromkeys(" ".join(str(each.message).split()) for each in warned)
        return Pushed(*done, notices=tuple(notices))

    def _send(
        self, api: Any, private: bool, message: str | None, overwrite: bool
    ) -> tuple[Address, str, tuple[str, ...], tuple[str, ...]]:
        address = self.address
        about = _opened(api, address, private)
        there = {each.rfilename: each for each in about.siblings or ()}
        before = self._readme(api, about.sha, there)
        if before.block is None and not overwrite:
            self._check_free(there)
        files = (self._card(before), *self.contents.files)
        changed = [file for file in files if not _is_there(file, there.get(file.name))]
        ours = before.written & card.FILES.keys() & there.keys()
        gone = sorted(ours - {file.name for file in files})
        url = f"{site()}/{address.repo}"
        if changed or gone:
            api.create_commit(
                address.repo,
                operations=_operations(changed, gone),
                commit_message=message or f"loang push, by loang {loang.__version__}",
                revision=address.revision,
                parent_commit=about.sha,
            )
        return address, url, tuple(file.name for file in changed), tuple(gone)

    def _check_free(self, there: dict[str, Any]) -> None:
        taken = sorted(self.contents.names & there.keys())
        if taken:
            raise LoangError(
                f"{self.address} has files that no `loang push` has written: {', '.join(taken)}.",
                "Name another repository, or replace them with --overwrite; its history has them.",
            )

    def _readme(self, api: Any, commit: str, there: dict[str, Any]) -> Readme:
        """The card that is there."""
        if README not in there:
            return Readme()
        if (there[README].size or 0) > readme.LARGEST:
            raise LoangError(
                f"The README.md of {self.address} has {there[README].size:,} bytes.",
                "Make it shorter on its page, or remove it.",
            )
        path = api.hf_hub_download(self.address.repo, README, revision=commit)
        return readme.read(Path(path).read_bytes(), str(self.address))

    def _card(self, there: Readme) -> Sent:
        repo = self.address.repo
        stated = there.metadata.get("license")
        license = self.license or (stated if isinstance(stated, str) else None)
        values = card.metadata(self.contents, repo, self.license)
        text = card.text(self.contents, repo, license, self.address.revision)
        return Sent(README, readme.merged(there, values, text).encode())


@contextlib.contextmanager
def ready(
    run: str | Path, repo: str, *, license: str | None = None, revision: str | None = None
) -> Iterator[Push]:
    """What would be sent of a run; nothing is sent yet, and the network is not asked.

    Args:
        run: its folder, or a model file.
        repo: owner/name of the repository.
        license: of the model, by the hub's name of it: "mit"; None states none.
        revision: a branch; None is `main`.

    Raises:
        LoangError: there is no model, the name is none, or the licence; or huggingface_hub is
            missing.
    """
    address = parse(repo)
    if revision not in (None, "main"):
        address = parse(f"{address.repo}@{revision}")
    with tempfile.TemporaryDirectory() as scratch:
        contents = gather(run, Path(scratch))
        card.metadata(contents, address.repo, license)
        yield Push(address, contents, license)


def _opened(api: Any, address: Address, private: bool) -> Any:
    """What the repository has, at the branch; both are made where they are not there."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        about = api.model_info(address.repo, files_metadata=True)
    except RepositoryNotFoundError:
        api.create_repo(address.repo, private=private, repo_type="model")
        about = api.model_info(address.repo, files_metadata=True)
    else:
        if private and not about.private:
            raise LoangError(
                f"{address.repo} is on the hub already, and anybody can see it.",
                "Make it private on its page first, or leave --private away.",
            )
    if address.revision in (None, "main"):
        return about
    try:
        return api.model_info(address.repo, revision=address.revision, files_metadata=True)
    except RevisionNotFoundError:
        api.create_branch(address.repo, branch=address.revision)
        return api.model_info(address.repo, revision=address.revision, files_metadata=True)


def _is_there(file: Sent, there: Any) -> bool:
    """Whether the repository has that file with that content."""
    if there is None or there.size not in (None, file.size):
        return False
    content = file.content
    if there.lfs:
        known = there.lfs["sha256"] if isinstance(there.lfs, dict) else there.lfs.sha256
        own = sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        return bool(own == known)
    content = content.read_bytes() if isinstance(content, Path) else content
    # As git names contents.
    own = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return bool(own == there.blob_id)


def _operations(changed: Sequence[Sent], gone: Sequence[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    adds = [CommitOperationAdd(file.name, file.content) for file in changed]
    return [*adds, *(CommitOperationDelete(name) for name in gone)]
