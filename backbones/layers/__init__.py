"""Layers that the backbone families share."""
