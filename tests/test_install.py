"""The installation that make lays down."""

import re

import cv2


def test_opencv_needs_no_window_system() -> None:
    # opencv-python and its headless twin share a folder; make lays the headless one on top.
    gui = re.search(r"GUI:\s+(\S+)", cv2.getBuildInformation())
    assert gui is not None and gui.group(1) == "NONE"
