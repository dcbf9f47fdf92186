"""Every test runs with the shapes in loang's signatures checked (jaxtyping, through beartype)."""

from jaxtyping import install_import_hook

install_import_hook("loang", "beartype.beartype").__enter__()
