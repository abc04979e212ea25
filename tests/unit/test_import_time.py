"""What importing Polars does to the garbage collector, and to nobody else's objects."""

from __future__ import annotations

import gc
import sys

import pytest

from recon_engine.runtime.import_time import lighten_imports


@pytest.mark.parametrize("imported", [True, False])
def test_objects_are_frozen_only_where_polars_is_imported(
    monkeypatch: pytest.MonkeyPatch,
    imported: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A caller's program that has frozen objects has others since then."""
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 1)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    if not imported:
        monkeypatch.delitem(sys.modules, "polars")
    with lighten_imports():
        assert gc.isenabled() == imported
    assert frozen == [False] * (not imported)
    assert gc.isenabled()
