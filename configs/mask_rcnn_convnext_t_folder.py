"""Mask R-CNN + ConvNeXt-T on one's own data in COCO's format: <root>/{train,val}/, <root>/annotations/{train,val}.json.

    tools/prepare_data.py check configs/mask_rcnn_convnext_t_folder.py --data-root <root>
    tools/train.py configs/mask_rcnn_convnext_t_folder.py --data-root <root> --pretrained FILE

The recipe is that of COCO with a shorter schedule (20k iterations); nothing is published for it. It starts from random
weights unless --pretrained names a file; set the schedule to the size of your data with
--cfg-options schedule.iterations=N.
"""

_base_ = [
    "./_base_/methods/mask_rcnn.py",
    "./_base_/datasets/coco_folder.py",
    "./_base_/schedules/adamw_20k_steps.py",
]

model = dict(backbone=dict(type="convnext_t", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
