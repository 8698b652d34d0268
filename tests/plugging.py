"""Plugins for tests: records that are found as those of an installed package are."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from stablemax.text import registry

if TYPE_CHECKING:
    import pytest


def plug_in(monkeypatch: pytest.MonkeyPatch, *records: Any) -> None:
    """Add records as a plugin does that has them at the top level of its module."""
    module = ModuleType("plugin_of_a_test")
    vars(module).update({f"RECORD_{i}": record for i, record in enumerate(records)})
    monkeypatch.setattr(registry, "plugin_modules", lambda: (module,))
