"""Overlays: where colour falls, and where it does not."""

import numpy as np

from densebench.evaluation.prediction_files import comparison


def test_labels_left_prediction_right_and_unlabelled_grey() -> None:
    image = np.full((4, 6, 3), (90, 120, 60), np.uint8)
    labels = np.zeros((4, 6), np.int64)
    labels[:, :2] = 255
    prediction = np.ones((4, 6), np.int64)
    picture = comparison(image, labels, prediction, [(200, 0, 0), (0, 0, 200)])
    assert picture.shape == (4, 16, 3)
    assert (picture[:, 0] == 90).all()  # the mean of the image's channels
    red, blue = picture[0, 4].astype(int), picture[0, 12].astype(int)
    assert red[0] > red[1] + 50 and blue[2] > blue[1] + 50
    assert (picture[:, 6:10] == 255).all()
