from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densebench.leaderboard.bootstrap import class_ious, mean

NUM_IMAGES = 300
CLASSES = ("wall", "tree", "lamp")


@pytest.fixture
def tested(save: Any) -> Any:
    """Saves a test of an experiment whose IoU lies about `level`; `hard` is what all models find hard."""

    def tested(experiment: str, level: float, seed: int = 0, **changes: Any) -> Path:
        random = np.random.default_rng(7)
        unions = random.integers(500, 1500, (NUM_IMAGES, len(CLASSES)))
        hard = random.normal(0, 0.1, unions.shape)
        own = np.random.default_rng(seed).normal(0, 0.02, unions.shape)
        intersections = (unions * np.clip(level + hard + own, 0, 1)).astype(int)
        miou = float(mean(class_ious(np.ones((1, NUM_IMAGES)), intersections, unions))[0])
        order = np.random.default_rng(seed + 1).permutation(NUM_IMAGES)  # tests may come in any order
        names = np.array([f"images/{number:04d}.jpg" for number in range(NUM_IMAGES)])
        changes["metrics"] = {"mIoU": miou, **changes.get("metrics", {})}
        path: Path = save(
            experiment=experiment,
            parts={
                "images": names[order],
                "classes": np.array(CLASSES),
                "intersections": intersections[order],
                "unions": unions[order],
            },
            **changes,
        )
        return path

    return tested
