"""diffusers: pipelines of pixels, brought and written without that library.

A pipeline's folder holds a network (`UNet2DModel`) as safetensors, a scheduler, and an index of the
two. What both sides can say is translated, each key and each weight; what they can't is named.
"""

from loang.interop.diffusers.fetching import located
from loang.interop.diffusers.reading import read
from loang.interop.diffusers.writing import write, write_custom

__all__ = ["located", "read", "write", "write_custom"]
