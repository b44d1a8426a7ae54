"""UperNet + ConvNeXt-T on one's own data: <root>/{images,labels}/{train,val}/ and <root>/classes.txt.

    tools/train.py configs/upernet_convnext_t_folder.py --data-root <root> --pretrained FILE

The recipe is that of ADE20K with a shorter schedule (20k iterations); nothing is published for it. It starts from
random weights unless --pretrained names a file; set the schedule to the size of your data with
--cfg-options schedule.iterations=N.
"""

_base_ = ["./_base_/methods/upernet.py", "./_base_/datasets/folder.py", "./_base_/schedules/adamw_20k.py"]

model = dict(backbone=dict(type="convnext_t", drop_path_rate=0.4, layer_scale_init_value=1.0))

optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.9, decay_type="stage_wise", num_layers=6),
)

test_ss = dict(mode="slide", crop_size=(512, 512), stride=(341, 341))
