"""What `pytest --rv-store SCHEME` collects: every rule, for the store of that scheme."""

from __future__ import annotations

from rv_core.testing.store_conformance import StoreConformance


class TestStore(StoreConformance):
    """Every rule for stores."""
