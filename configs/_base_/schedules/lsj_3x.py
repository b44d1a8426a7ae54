"""AdamW for 36 epochs of large-scale jitter in batches of 32 (ConvNeXt V2, arXiv:2301.00808, appendix A.3)."""

_base_ = ["./adamw_3x.py"]

# 36 epochs x 117,266 images / 32 images = 132k iterations of COCO
total_batch = 32
