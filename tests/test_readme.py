"""What the README shows works as shown."""

import re
from pathlib import Path

import torch

import backbones
from densebench.recipe import RunOptions, resolve

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_backbone_of_ten_lines(forget_names: None) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(program, "README.md", "exec"), {"__name__": "mynet"})
    maps = backbones.build("mynet_t")(torch.zeros(1, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [(32, 16, 24), (64, 8, 12), (128, 4, 6), (256, 2, 3)]
    recipe = resolve(RunOptions("upernet_convnext_t_ade20k", backbone="mynet_s", mini=True))
    assert recipe.config.model.decode_head.in_channels == [48, 96, 192, 384]
    assert recipe.dropped_arguments == ("layer_scale_init_value",)


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"\]\((docs/[^)]+)\)|(configs/\S+\.py)|(tools/\w+\.py)", README.read_text()):
        assert (README.parent / "".join(name)).is_file(), name
