"""Detections in COCO's format of results, as its evaluation servers and pycocotools' loadRes take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densebench.whole_files import written_whole

Result = dict[str, Any]


def write_results(per_image: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """`bbox.json` and, where there are masks, `segm.json`, from ExactCoco's `per_image`.

    Two files, for boxes and masks are two challenges of COCO's server, with a file each; and of a file with both
    pycocotools would take small, medium and large masks from the boxes.
    """
    results = {"bbox": box_results(per_image)}
    if "mask_lengths" in per_image:
        results["segm"] = mask_results(per_image)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind, entries in results.items():
        file = folder / f"{kind}.json"
        with written_whole(file) as temporary:
            temporary.write_text(json.dumps(entries), encoding="utf-8")
        files.append(file)
    return tuple(files)


def box_results(per_image: Mapping[str, Any]) -> list[Result]:
    """Each detection's box as left, top, width and height in pixels of the image."""
    return [
        entry | {"bbox": [left, top, right - left, bottom - top]}
        for entry, (left, top, right, bottom) in zip(_entries(per_image), per_image["boxes"].tolist(), strict=True)
    ]


def mask_results(per_image: Mapping[str, Any]) -> list[Result]:
    """Each detection's mask as run lengths, their counts as text."""
    sizes = per_image["image_sizes"][per_image["detection_image"]].tolist()  # height, width
    counts, ends = per_image["mask_counts"].tobytes().decode("ascii"), per_image["mask_lengths"].cumsum().tolist()
    starts = [0, *ends[:-1]]
    return [
        entry | {"segmentation": {"size": size, "counts": counts[start:end]}}
        for entry, size, start, end in zip(_entries(per_image), sizes, starts, ends, strict=True)
    ]


def _entries(per_image: Mapping[str, Any]) -> list[Result]:
    image_ids = per_image["image_ids"][per_image["detection_image"]].tolist()
    return [
        {"image_id": image, "category_id": category, "score": score}
        for image, category, score in zip(
            image_ids, per_image["category_ids"].tolist(), per_image["scores"].tolist(), strict=True
        )
    ]
