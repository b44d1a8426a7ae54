"""UperNet + Swin-B on ADE20K, 512x512 crops, 160k iterations.

    tools/train.py configs/upernet_swin_b_ade20k.py
    tools/test.py configs/upernet_swin_b_ade20k.py --aug-test

Published: mIoU 48.13 single-scale, 49.72 multi-scale with flip (the authors' repository).
Cost: 121 M parameters, 1188 G multiply-adds at 2048x512. The paper states a drop path rate of 0.2 (appendix A2.3), the
released config, followed here, 0.3. The authors trained it in fp32.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k.py", "./_base_/schedules/swin_160k.py"]

model = dict(backbone=dict(type="swin_b", window_size=7, drop_path_rate=0.3))

# The authors' ImageNet-1K weights, as OpenMMLab hosts them for its own recipe; the hash is what stands
# in the file's name.
pretrained = dict(
    name="in1k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_base_patch4_window7_224_20220317-e9b98025.pth",
    sha256="e9b98025",
)
