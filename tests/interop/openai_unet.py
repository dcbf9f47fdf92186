"""The U-Net of improved-diffusion and guided-diffusion, stated anew from what was published.

The papers: Nichol and Dhariwal 2021, Dhariwal and Nichol 2021; the facts that these leave open are
those of the released code (MIT): the names of weights, 32 groups in each norm with epsilon 1e-5,
the code of the time (cosines first, i / half), which channels of the convolution for q, k and v are
whose, and where a size is halved. Nothing of loang is used.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

HALVED, DOUBLED = "halved", "doubled"


@dataclass(frozen=True)
class Published:
    """The flags of their scripts."""

    width: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]  # levels
    heads: int = 4
    head_width: int | None = None
    new_order: bool = False
    modulate: bool = True
    resample_blocks: bool = False
    classes: int = 0
    channels: int = 3
    learn_sigma: bool = False

    @property
    def modules(self):
        """What each numbered block holds: (prefix, [(kind, inputs, outputs), ...])."""
        down, kept, current = [[("first", self.channels, self.width)]], [self.width], self.width
        last = len(self.multipliers) - 1
        for level, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                parts = [("block", current, self.width * multiplier)]
                current = self.width * multiplier
                down.append(parts + [("attention", current, current)] * (level in self.attention))
                kept.append(current)
            if level < last:
                down.append([(HALVED, current, current)])
                kept.append(current)
        middle = [(kind, current, current) for kind in ("block", "attention", "block")]
        up = []
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for number in range(self.blocks + 1):
                parts = [("block", current + kept.pop(), self.width * multiplier)]
                current = self.width * multiplier
                parts += [("attention", current, current)] * (level in self.attention)
                if level and number == self.blocks:
                    parts.append((DOUBLED, current, current))
                up.append(parts)
        return down, middle, up

    def shapes(self):
        """Of all weights, by name."""
        code, made = 4 * self.width, {}

        def layer(name, *shape):
            made[f"{name}.weight"], made[f"{name}.bias"] = shape, shape[:1]

        def block(name, inputs, outputs):
            layer(f"{name}.in_layers.0", inputs)
            layer(f"{name}.in_layers.2", outputs, inputs, 3, 3)
            layer(f"{name}.emb_layers.1", outputs * (2 if self.modulate else 1), code)
            layer(f"{name}.out_layers.0", outputs)
            layer(f"{name}.out_layers.3", outputs, outputs, 3, 3)
            if inputs != outputs:
                layer(f"{name}.skip_connection", outputs, inputs, 1, 1)

        def part(name, kind, inputs, outputs):
            if kind == "first":
                layer(name, outputs, inputs, 3, 3)
            elif kind == "attention":
                layer(f"{name}.norm", inputs)
                layer(f"{name}.qkv", 3 * inputs, inputs, 1)
                layer(f"{name}.proj_out", inputs, inputs, 1)
            elif kind == "block" or self.resample_blocks:
                block(name, inputs, outputs)
            else:
                layer(f"{name}.{'op' if kind == HALVED else 'conv'}", outputs, inputs, 3, 3)

        layer("time_embed.0", code, self.width)
        layer("time_embed.2", code, code)
        if self.classes:
            made["label_emb.weight"] = (self.classes, code)
        down, middle, up = self.modules
        for prefix, numbered in (("input_blocks", down), ("output_blocks", up)):
            for number, parts in enumerate(numbered):
                for place, (kind, inputs, outputs) in enumerate(parts):
                    part(f"{prefix}.{number}.{place}", kind, inputs, outputs)
        for place, (kind, inputs, outputs) in enumerate(middle):
            part(f"middle_block.{place}", kind, inputs, outputs)
        layer("out.0", self.width * self.multipliers[0])
        said = self.channels * (2 if self.learn_sigma else 1)
        layer("out.2", said, self.width * self.multipliers[0], 3, 3)
        return made

    def weights(self, seed=0):
        """Drawn so that every layer matters."""
        generator = torch.Generator().manual_seed(seed)
        made = {}
        for name, shape in self.shapes().items():
            value = torch.randn(shape, generator=generator)
            fan = math.prod(shape[1:]) if len(shape) > 1 else 100
            norm = len(shape) == 1 and name.endswith("weight")
            made[name] = value / math.sqrt(fan) + float(norm)
        return made

    def answer(self, weights, x, t, label=None):
        """What the network makes of images x at times t, which are real numbers."""
        half = self.width // 2
        angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
        code = torch.cat((angle.cos(), angle.sin()), dim=1)
        code = linear(weights, "time_embed.0", code)
        code = linear(weights, "time_embed.2", functional.silu(code))
        if label is not None:
            code = code + weights["label_emb.weight"][label]
        down, middle, up = self.modules
        kept = []
        for number, parts in enumerate(down):
            x = self.run(weights, f"input_blocks.{number}", parts, x, code)
            kept.append(x)
        x = self.run(weights, "middle_block", middle, x, code)
        for number, parts in enumerate(up):
            x = torch.cat((x, kept.pop()), dim=1)
            x = self.run(weights, f"output_blocks.{number}", parts, x, code)
        return conv(weights, "out.2", functional.silu(norm(weights, "out.0", x)))

    def run(self, weights, prefix, parts, x, code):
        for place, (kind, *_) in enumerate(parts):
            name = f"{prefix}.{place}"
            if kind == "first":
                x = conv(weights, name, x)
            elif kind == "attention":
                x = self.attend(weights, name, x)
            elif kind == "block" or self.resample_blocks:
                x = self.block(weights, name, x, code, kind)
            elif kind == HALVED:
                x = conv(weights, f"{name}.op", x, stride=2)
            else:
                x = conv(weights, f"{name}.conv", doubled(x))
        return x

    def block(self, weights, name, x, code, kind):
        h = functional.silu(norm(weights, f"{name}.in_layers.0", x))
        if kind == HALVED:
            h, x = functional.avg_pool2d(h, 2), functional.avg_pool2d(x, 2)
        if kind == DOUBLED:
            h, x = doubled(h), doubled(x)
        h = conv(weights, f"{name}.in_layers.2", h)
        of_code = linear(weights, f"{name}.emb_layers.1", functional.silu(code))[:, :, None, None]
        if self.modulate:
            scale, shift = of_code.chunk(2, dim=1)
            h = norm(weights, f"{name}.out_layers.0", h) * (1 + scale) + shift
        else:
            h = norm(weights, f"{name}.out_layers.0", h + of_code)
        h = conv(weights, f"{name}.out_layers.3", functional.silu(h))
        if f"{name}.skip_connection.weight" in weights:
            x = conv(weights, f"{name}.skip_connection", x, padding=0)
        return x + h

    def attend(self, weights, name, x):
        n, c, height, width = x.shape
        heads = c // self.head_width if self.head_width else self.heads
        wide = c // heads
        qkv = norm(weights, f"{name}.norm", x).reshape(n, c, -1)
        qkv = functional.conv1d(qkv, weights[f"{name}.qkv.weight"], weights[f"{name}.qkv.bias"])
        mixed = []
        for head in range(heads):
            if self.new_order:
                starts = [part * c + head * wide for part in range(3)]
            else:
                starts = [head * 3 * wide + part * wide for part in range(3)]
            q, k, v = (qkv[:, start : start + wide] for start in starts)
            seen = (torch.einsum("nct,ncs->nts", q, k) / math.sqrt(wide)).softmax(-1)
            mixed.append(torch.einsum("nts,ncs->nct", seen, v))
        out = weights[f"{name}.proj_out.weight"], weights[f"{name}.proj_out.bias"]
        return x + functional.conv1d(torch.cat(mixed, dim=1), *out).reshape(n, c, height, width)


def linear(weights, name, x):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def conv(weights, name, x, stride=1, padding=1):
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return functional.conv2d(x, weight, bias, stride, padding)


def norm(weights, name, x):
    return functional.group_norm(x, 32, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)


def doubled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
