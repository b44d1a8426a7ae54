"""One's own data for semantic segmentation, in the plain folder layout of densebench.data.layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from densebench.data.check import require_split
from densebench.data.classes import make_palette, read_classes
from densebench.data.loading import TRAINING_IGNORE_INDEX


@DATASETS.register_module()
class FolderSegDataset(BaseSegDataset):
    """The images and labels of `<data_root>/{images,labels}/<split>`, split "train" or "val".

    Class names and the ignore value come from classes.txt; pixels of the ignore value become 255 on loading, in
    training and in testing. `options` are those of mmseg's BaseSegDataset (pipeline, test_mode, lazy_init, ...).
    Raises DensebenchError where files are missing or do not pair.
    """

    def __init__(self, data_root: str | Path, split: str, **options: Any) -> None:
        names, self.ignore_value = read_classes(Path(data_root))
        self.split = split
        metainfo = {"classes": names, "palette": make_palette(len(names))}
        super().__init__(data_root=str(data_root), metainfo=metainfo, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry per image, sorted by name, with the keys of mmseg's data sets."""
        files = require_split("folder", Path(self.data_root), self.split)
        label_map = None
        if self.ignore_value != TRAINING_IGNORE_INDEX:
            label_map = {self.ignore_value: TRAINING_IGNORE_INDEX}
        return [
            {
                "img_path": str(image),
                "seg_map_path": str(label),
                "label_map": label_map,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for image, label in zip(files.images, files.labels, strict=True)
        ]
