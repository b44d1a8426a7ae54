"""Evaluation: exact IoU, multi-scale testing, test records."""
