"""Data: miniature data sets, one's own folders, checked loading of images and labels."""
