"""Pictures of detections: what is drawn, what is left out, and where names go."""

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths

from densebench.evaluation.detection_pictures import SHOWN_SCORE, colour_of, draw_detections

CLASSES = ("cat", "dog")


def drawn(boxes: list[list[float]], labels: list[int], scores: list[float], with_masks: bool = True) -> np.ndarray:
    image = np.full((240, 320, 3), 100, np.uint8)
    masks = []
    for left, top, right, bottom in boxes:
        mask = np.zeros((240, 320), np.uint8, order="F")
        mask[int(top) : int(bottom), int(left) : int(right)] = 1
        masks.append(run_lengths.encode(mask))
    arrays = (np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32))
    picture = draw_detections(image, *arrays, masks if with_masks else [], CLASSES)
    assert (image == 100).all() and picture.shape == image.shape
    return picture


def test_mask_box_and_name_lie_where_the_object_is() -> None:
    picture = drawn([[100, 80, 200, 180]], [1], [0.9])
    colour = np.array(colour_of(1))
    assert (picture[80, 150] == colour).all() and (picture[130, 199] == colour).all()  # the box's sides
    expected = 0.55 * 100 + 0.45 * colour
    assert np.abs(picture[130, 150] - expected).max() <= 1  # the mask shines through
    assert (picture[200:] == 100).all() and (picture[:, 201:] == 100).all()
    name = picture[62:80, 100:160]
    assert (name == colour).all(axis=2).mean() > 0.4 and (name != colour).any()  # text on the class's colour


def test_low_scores_are_left_out_and_the_best_lies_on_top() -> None:
    assert (drawn([[50, 50, 90, 90]], [0], [SHOWN_SCORE - 0.01]) == 100).all()
    assert (drawn([], [], []) == 100).all()
    both = drawn([[50, 50, 150, 150]] * 2, [0, 1], [0.9, 0.5], with_masks=False)
    assert (both[149, 100] == colour_of(0)).all()  # the lower side, which no name hides


def test_names_do_not_hide_each_other() -> None:
    picture = drawn([[100, 80, 200, 180], [102, 81, 201, 182]], [0, 1], [0.9, 0.8], with_masks=False)
    shown = [(picture == colour_of(label)).all(axis=2).sum() for label in (0, 1)]
    alone = [
        (drawn([[100, 80, 200, 180]], [label], [0.9], False) == colour_of(label)).all(axis=2).sum() for label in (0, 1)
    ]
    assert min(found / expected for found, expected in zip(shown, alone, strict=True)) > 0.7


def test_names_stay_inside_the_image() -> None:
    picture = drawn([[300, 0, 320, 20]], [0], [0.9])
    Image.fromarray(picture).verify()
    assert (picture[2:14, 262:300] == colour_of(0)).all(axis=2).mean() > 0.4
