"""What the tests share: regions whose time is in the test's own hands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import forebay


@pytest.fixture
def region() -> Iterator[forebay.Region]:
    """A private region with a manual clock."""
    with forebay.private(manual_clock=True) as region:
        yield region


@pytest.fixture
def shared_path(tmp_path: Path) -> str:
    """Where a shared region may be made."""
    return str(tmp_path / "shop.fb")
