"""Runs whose last pictures are asked for and not drawn."""

import contextlib

import pytest


def note_pictures(patch):
    """From here on a run's last pictures are asked for, which is noted, and not drawn.

    They take a third of so small a run. That they are drawn, test_disk.py sees, and others.
    """
    asked = []

    def note(what):
        return lambda *arguments, **more: asked.append(what)

    for name in ("training_chart", "save_walk"):
        patch.setattr(f"loang.training.reporter.pictures.{name}", note(name))
    return asked


@contextlib.contextmanager
def undrawn():
    """Within it, none is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        yield note_pictures(patch)
