"""What the fuzz harness spoils of files of weights that torch saved; readers.py reads it."""

import zipfile
from pathlib import Path

import mutations
import torch
from safetensors.torch import load_file

from in_steps import IN_STEPS
from loang import build, presets
from loang.config import changed
from loang.data import ImageSpec
from loang.interop import denoising_diffusion, guided_diffusion
from loang.interop.guided_names import Form, names


class TorchFile:
    """A file of torch's own form: what it pickles is twisted, with checksums that are right."""

    def prepare(self):
        self.path = self.folder / "weights.pt"
        torch.save(self.weights(), self.path)
        self.whole = self.path.read_bytes()
        with zipfile.ZipFile(self.path) as file:
            self.sound = {name: file.read(name) for name in file.namelist()}

    def spoil(self, random):
        if random.random() < 0.2:
            self.path.write_bytes(mutations.damage(random, self.whole))
            return
        members = dict(self.sound)
        program = next(name for name in members if name.endswith("/data.pkl"))
        choice = random.random()
        if choice < 0.4:
            name = random.choice(list(members))
            members[name] = mutations.damage(random, members[name], members[program])
        elif choice < 0.8:  # numbers: shapes, strides, offsets, lengths
            content = bytearray(members[program])
            places = [at for at in range(len(content) - 5) if content[at] in b"KMJ"]
            for _ in range(random.choice((1, 1, 2, 5))):
                at = random.choice(places)
                width = {ord("K"): 1, ord("M"): 2, ord("J"): 4}[content[at]]
                number = random.choice(mutations.NUMBERS) % 2 ** (8 * width)
                content[at + 1 : at + 1 + width] = number.to_bytes(width, "little")
            members[program] = bytes(content)
        else:
            del members[random.choice(list(members))]
        method = zipfile.ZIP_DEFLATED if random.random() < 0.05 else zipfile.ZIP_STORED
        with zipfile.ZipFile(self.path, "w", method) as file:
            for name, content in members.items():
                file.writestr(name, content)


class DenoisingDiffusion(TorchFile):
    """Weights of denoising-diffusion-pytorch."""

    def weights(self):
        fixtures = Path(__file__).parents[1] / "fixtures" / "denoising_diffusion"
        return {"model": load_file(fixtures / "learned.safetensors"), "step": 7}

    def read(self):
        denoising_diffusion.read(self.path, (4, 4))


class GuidedDiffusion(TorchFile):
    """Weights of guided-diffusion."""

    def weights(self):
        form = Form(1, 2, 32, 32, (32,), 1, (0,), True, False, 2)
        settings = changed(presets.quick(), ("network.kind=unet", *IN_STEPS))
        chosen = {**form.network, "norm_groups": 32, "no_label": False, "heads": 1}
        network = type(settings.network).model_validate(chosen)
        denoiser = settings.denoiser.model_copy(update={"learn_variance": True})
        settings = settings.model_copy(update={"network": network, "denoiser": denoiser})
        shapes = build.weight_shapes(settings, ImageSpec(4, 4, 1, class_names=("a", "b")))
        return {
            f"{theirs}.{kind}": torch.ones(shapes[f"{ours}.{kind}"])
            for theirs, ours in names(form)
            for kind in ("weight", "bias")
            if f"{ours}.{kind}" in shapes
        }

    def read(self):
        guided_diffusion.read(self.path, guided_diffusion.Unseen((4, 4)))
