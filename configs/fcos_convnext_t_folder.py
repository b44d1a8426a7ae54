"""FCOS + ConvNeXt-T on one's own data in COCO's format: <root>/{train,val}/, <root>/annotations/{train,val}.json.

    tools/prepare_data.py check configs/fcos_convnext_t_folder.py --data-root <root>
    tools/train.py configs/fcos_convnext_t_folder.py --data-root <root> --pretrained FILE

Boxes alone: the annotations need no masks. Nothing is published for it; optimizer and layer-wise decay are those of
Mask R-CNN with this backbone, the schedule is short (20k iterations). It starts from random weights unless --pretrained
names a file; set the schedule to the size of your data with --cfg-options schedule.iterations=N.
"""

_base_ = [
    "./_base_/methods/fcos.py",
    "./_base_/datasets/coco_folder.py",
    "./_base_/schedules/adamw_20k_steps.py",
]

model = dict(backbone=dict(type="convnext_t", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95, decay_type="layer_wise", num_layers=6),
)
