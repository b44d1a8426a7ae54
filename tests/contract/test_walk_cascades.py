"""The configs train: those of Cascade Mask R-CNN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from walk import trains_on_the_miniature, walked


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in walked() if name.startswith("cascade")])
def test_a_config_trains_on_the_miniature(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    trains_on_the_miniature(name, tmp_path, record_property)
