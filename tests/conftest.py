"""Every test runs with the shapes in loang's signatures checked (jaxtyping, through beartype)."""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("loang", "beartype.beartype").__enter__()

# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("loang", deadline=None)
settings.load_profile("loang")
