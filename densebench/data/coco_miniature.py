"""The annotations of synthetic scenes as COCO writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

from densebench.data.coco import CATEGORIES
from densebench.data.scenes import CLASSES, Scene

# Scenes have no more than these countable objects; each is called what comes closest in COCO.
_NAMES = {
    "person": "person",
    "car": "car",
    "boat": "boat",
    "ball": "sports ball",
    "clock": "clock",
    "box": "suitcase",
    "signboard": "stop sign",
    "flag": "kite",
}
CATEGORY_NAMES = frozenset(_NAMES.values())


def instances_json(scenes: Mapping[int, Scene]) -> dict[str, Any]:
    """Scenes by image id -> the content of an instances_*.json: boxes, masks as run lengths, no crowds."""
    ids = {name: category_id for category_id, name in CATEGORIES.items()}
    objects: list[dict[str, Any]] = []
    for image_id, scene in scenes.items():
        for instance in scene.instances:
            left, top, right, bottom = instance.box
            mask = run_lengths.encode(np.asfortranarray(instance.mask, np.uint8))
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image_id,
                    "category_id": ids[_NAMES[CLASSES[instance.class_index]]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(np.count_nonzero(instance.mask)),
                    "segmentation": {"size": list(mask["size"]), "counts": mask["counts"].decode()},
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {
                "id": image_id,
                "file_name": f"{image_id:012d}.jpg",
                "height": len(scene.label),
                "width": len(scene.label[0]),
            }
            for image_id, scene in scenes.items()
        ],
        "annotations": objects,
        "categories": [{"id": category_id, "name": name} for category_id, name in CATEGORIES.items()],
    }
