"""Decode heads that compute what mmseg's compute, with fewer multiply-adds: same parameters, same results."""
