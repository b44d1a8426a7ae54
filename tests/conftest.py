"""Shared by all tests: a cache of the session's own, and a recipe small enough to train in seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.registry import MODELS, DefaultScope

import densebench.registration  # noqa: F401  (before any test's import of mmseg or mmdet, which look for mmcv's operators)
from backbones import registry

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

TINY_RECIPE = f"""
_base_ = ["{CONFIGS}/demo/upernet_convnextv2_atto_ade20k.py"]
model = dict(
    backbone=dict(depths=(1, 1, 1, 1), dims=(8, 12, 16, 24)),
    decode_head=dict(channels=16),
    auxiliary_head=dict(channels=8),
)
mini = dict(iterations=3, total_batch=2)
"""


@pytest.fixture(scope="session", autouse=True)
def miniature_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Miniatures are generated once a session (and worker), outside the user's cache."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("cache")
    patch.setenv("DENSEBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_scope_left() -> Iterator[None]:
    """A runner's default scope outlives the runner in mmengine; here it ends with the test that made it."""
    known = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(known)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """UperNet with a backbone and heads of a few channels."""
    file = tmp_path_factory.mktemp("configs") / "upernet_tiny_ade20k.py"
    file.write_text(TINY_RECIPE)
    return file


@pytest.fixture
def forget_names() -> Iterator[None]:
    """Backbones that a test registers are gone after it."""
    known = list(registry._NAMES)
    yield
    for name in set(registry._NAMES) - set(known):
        MODELS.module_dict.pop(name)
    registry._NAMES[:] = known
