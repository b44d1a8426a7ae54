import hashlib

import numpy as np
import pytest

from densebench.data.scenes import CLASSES, GENERATOR_VERSION, THING_CLASSES, UNLABELLED, Scene, make_scene

# sha256 of image and label of make_scene(0, 96, 128). If it changes, raise GENERATOR_VERSION: miniatures are cached.
PIXELS_OF_VERSION = {1: "5d9dffa4cd4d8f5e9d8f868b86fb9daf15897040db7d66b2922cd6cd358440d3"}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed, 144, 192) for seed in range(48)]


def test_pixels_are_the_same_on_every_machine():
    scene = make_scene(0, 96, 128)
    digest = hashlib.sha256(scene.image.tobytes() + scene.label.tobytes()).hexdigest()
    assert digest == PIXELS_OF_VERSION[GENERATOR_VERSION]


def test_seed_decides():
    first, again, other = make_scene(3, 64, 80), make_scene(3, 64, 80), make_scene(4, 64, 80)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.label, again.label)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (130, 97), (97, 130), (257, 200)])
def test_sizes_and_types(height: int, width: int):
    for seed in range(4):
        scene = make_scene(seed, height, width)
        assert scene.image.shape == (height, width, 3) and scene.image.dtype == np.uint8
        assert scene.label.shape == (height, width) and scene.label.dtype == np.uint8


def test_a_scene_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 32 x 32 pixels, not 64 x 31"):
        make_scene(0, 31, 64)


def test_labels_are_classes_or_unlabelled(scenes: list[Scene]):
    values = np.unique(np.stack([scene.label for scene in scenes]))
    assert values.tolist() == [*range(len(CLASSES)), UNLABELLED]


def test_no_class_is_rare_or_dominates(scenes: list[Scene]):
    counts = np.bincount(np.stack([scene.label for scene in scenes]).ravel(), minlength=256)
    share = counts / counts.sum()
    assert share[: len(CLASSES)].min() > 0.003 and share.max() < 0.35
    assert 0.005 < share[UNLABELLED] < 0.05


def test_instances_agree_with_the_label_map(scenes: list[Scene]):
    for scene in scenes:
        covered = np.zeros(scene.label.shape, np.int64)
        for instance in scene.instances:
            left, top, right, bottom = instance.box
            assert (scene.label[instance.mask] == instance.class_index).all()
            assert instance.mask[top:bottom, left:right].sum() == instance.mask.sum() >= 16
            assert instance.mask[top].any() and instance.mask[bottom - 1].any()
            assert instance.mask[:, left].any() and instance.mask[:, right - 1].any()
            covered += instance.mask
        assert np.array_equal(covered == 1, np.isin(scene.label, list(THING_CLASSES)))
        assert covered.max() <= 1


def test_objects_hide_one_another_and_vary_in_size(scenes: list[Scene]):
    areas = [instance.mask.mean() for scene in scenes for instance in scene.instances]
    assert min(areas) < 0.002 and max(areas) > 0.03
    assert len(areas) > 4 * len(scenes)


def test_colour_alone_does_not_tell_the_class(scenes: list[Scene]):
    """The best guess from a pixel's colour (8 levels a channel) is far from the label."""
    labels = np.stack([scene.label for scene in scenes]).ravel()
    levels = np.stack([scene.image for scene in scenes]).reshape(-1, 3).astype(np.int64) // 32
    bins = levels @ np.array([64, 8, 1])
    known = labels != UNLABELLED
    joint = np.bincount(bins[known] * len(CLASSES) + labels[known], minlength=512 * len(CLASSES))
    assert joint.reshape(512, -1).max(axis=1).sum() / known.sum() < 0.5
