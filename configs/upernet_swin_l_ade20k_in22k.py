"""UperNet + Swin-L on ADE20K, 640x640 crops, 160k iterations, from ImageNet-22K.

    tools/train.py configs/upernet_swin_l_ade20k_in22k.py
    tools/test.py configs/upernet_swin_l_ade20k_in22k.py --aug-test

Published: mIoU 52.05 single-scale, 53.53 multi-scale with flip (the repository microsoft/Swin-Transformer).
Cost: 234 M parameters, 3230 G multiply-adds at 2560x640 (2468 G in table 4
of the ConvNeXt paper; 2482 are counted here).

No config was released for it. Crops, optimizer, schedule and multi-scale ratios are those of the paper's appendix A2.3;
the drop path rate of 0.3 (the paper: 0.2) and whole-image inference are those of the released configs for 512x512; the
window of 7 follows from the published cost of Swin-B, which a window of 12 misses (1891 G).
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/ade20k_640.py", "./_base_/schedules/swin_160k.py"]

model = dict(backbone=dict(type="swin_l", window_size=7, drop_path_rate=0.3))

# The authors' ImageNet-22K weights, as OpenMMLab hosts them for its own recipes at 512x512; the hash is what stands
# in the file's name.
pretrained = dict(
    name="in22k",
    url="https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/"
    "swin_large_patch4_window7_224_22k_20220412-aeecf2aa.pth",
    sha256="aeecf2aa",
)
