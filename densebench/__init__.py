"""densebench: what a vision backbone is worth for detection and segmentation, and what it costs."""

__version__ = "0.1.0"
