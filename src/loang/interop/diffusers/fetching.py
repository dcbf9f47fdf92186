"""Where a pipeline lies: in a folder, or on the hub, of which only what is read is fetched."""

from pathlib import Path

from loang import files
from loang.data.environment import offline
from loang.errors import LoangError
from loang.extras import require
from loang.hub.address import parse
from loang.hub.trouble import endpoint, told
from loang.interop.diffusers.folder import FILES, check_weights


def located(name: str) -> Path:
    """The folder of a pipeline.

    Args:
        name: a folder, or `owner/name` of the hub, with `@revision` behind it if need be.

    Returns:
        The folder, or its copy in huggingface_hub's cache: for reading alone.

    Raises:
        LoangError: there is none; or huggingface_hub is missing, the network fails, or there is no
            room for it.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/")):
        raise LoangError(
            f"There is no folder {files.shown(folder)}.",
            "Name the folder of a pipeline that diffusers has saved, or owner/name of the hub.",
        )
    address = parse(name)
    hub = require("huggingface_hub", extra="hub", purpose="to fetch a pipeline of the hub")
    with told(address, "model"):
        if offline():
            return Path(
                hub.snapshot_download(
                    address.repo, revision=address.revision, local_files_only=True
                )
            )
        about = hub.HfApi(endpoint=endpoint()).model_info(
            address.repo, revision=address.revision, files_metadata=True
        )
        sizes = {each.rfilename: each.size or 0 for each in about.siblings or ()}
        check_weights(str(address), [path.removeprefix("unet/") for path in sizes])
        wanted = {path: size for path, size in sizes.items() if path in FILES}
        files.check_space(_cache(), sum(wanted.values()))
        for path in wanted:
            found = hub.hf_hub_download(
                address.repo, path, revision=address.revision, endpoint=endpoint()
            )
        return Path(found).parents[path.count("/")]


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
