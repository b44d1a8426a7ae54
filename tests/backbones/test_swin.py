"""Swin: equal to timm's where sizes divide, the authors' padding and names, the published sizes."""

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import backbones
from backbones.layers.swin_stage import Block
from backbones.swin import DenseSwin, swin_state

SMALL = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 3, 6)}


def timm_twin(ours: DenseSwin) -> SwinTransformer:
    """timm's model with our weights; its merging is the first part of a stage, the authors' the last of the one before.

    It shifts in every stage, as the authors' dense-prediction code does.
    """
    twin = SwinTransformer(num_classes=0, always_partition=True, **SMALL).eval()
    state = {"norm.weight": torch.ones(192), "norm.bias": torch.zeros(192)}
    for name, value in ours.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers" and parts[2] == "downsample":
            name = ".".join(["layers", str(int(parts[1]) + 1), *parts[2:]])
        if not name.startswith("norm"):
            state[name] = value
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not missing and not unexpected
    return twin


def test_equals_timm_where_windows_divide_the_map() -> None:
    torch.manual_seed(0)
    ours = DenseSwin(**SMALL).eval()
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    twin = timm_twin(ours)
    image = torch.randn(2, 3, 224, 224, requires_grad=True)
    twin_image = image.detach().clone().requires_grad_()

    maps = ours(image)
    # timm's maps come before any output norm.
    raw = twin.forward_intermediates(twin_image, intermediates_only=True)
    expected = [
        ours.get_submodule(f"norm{index}")(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for index, level in enumerate(raw)
    ]
    sum(level.square().sum() for level in maps).backward()
    sum(level.square().sum() for level in expected).backward()

    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad, twin_image.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [0, 3])
def test_padding_comes_before_the_shift(shift: int) -> None:
    torch.manual_seed(0)
    block = Block(
        dim=8,
        input_resolution=(7, 7),
        num_heads=2,
        window_size=7,
        shift_size=shift,
        always_partition=True,
        dynamic_mask=True,
    ).eval()
    torch.nn.init.normal_(block.attn.proj.bias)
    x = torch.randn(2, 9, 12, 8)
    padded = functional.pad(x, (0, 0, 0, 2, 0, 5))  # 14 x 14: two whole windows each way
    with torch.no_grad():
        torch.testing.assert_close(block._attn(x), block._attn(padded)[:, :9, :12], rtol=0, atol=0)
        assert block._attn(x).is_contiguous()


def test_every_second_block_is_shifted_in_every_stage() -> None:
    with torch.device("meta"):
        backbone = DenseSwin(**SMALL)
    for stage in backbone.layers:
        assert [block.shift_size for block in stage.blocks] == [(0, 0), (3, 3)]


@pytest.mark.parametrize(
    ("name", "window_size", "size", "width", "params_m", "flops_g"),
    [
        # The authors' README, with the classifier, at the size of the images.
        ("swin_t", 7, 224, 768, 28, 4.5),
        ("swin_s", 7, 224, 768, 50, 8.7),
        ("swin_b", 7, 224, 1024, 88, 15.4),
        ("swin_l", 7, 224, 1536, 197, 34.5),
        ("swin_b", 12, 384, 1024, 88, 47.1),
        ("swin_l", 12, 384, 1536, 197, 103.9),
    ],
)
def test_published_size(name: str, window_size: int, size: int, width: int, params_m: float, flops_g: float) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name, window_size=window_size).eval()
        image = torch.empty(1, 3, size, size)
    classifier = width * 1000
    own = sum(value.numel() for key, value in backbone.named_parameters() if not key.startswith("norm"))
    assert (own + 2 * width + classifier + 1000) / 1e6 == pytest.approx(params_m, abs=0.5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(image)
    assert (counter.get_total_flops() / 2 + classifier) / 1e9 == pytest.approx(flops_g, abs=0.05)


def test_names_are_those_of_the_released_checkpoints() -> None:
    with torch.device("meta"):
        names = set(backbones.build("swin_t").state_dict())
    assert {
        "patch_embed.proj.weight",
        "patch_embed.norm.bias",
        "layers.0.blocks.0.norm1.weight",
        "layers.0.blocks.1.attn.relative_position_bias_table",
        "layers.0.blocks.1.attn.qkv.bias",
        "layers.0.blocks.1.attn.proj.weight",
        "layers.0.blocks.1.mlp.fc1.weight",
        "layers.0.downsample.norm.weight",
        "layers.2.downsample.reduction.weight",
        "layers.3.blocks.1.mlp.fc2.bias",
        "norm0.weight",
        "norm3.bias",
    } <= names
    assert not any("relative_position_index" in name or "attn_mask" in name for name in names)


def test_a_released_state_dict_fits() -> None:
    torch.manual_seed(0)
    source = DenseSwin(**SMALL)
    released = {
        **{name: value for name, value in source.state_dict().items() if not name.startswith("norm")},
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long),
        "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49),
        "norm.weight": torch.ones(192),
        "head.weight": torch.zeros(1000, 192),
    }
    missing, unexpected = DenseSwin(**SMALL).load_state_dict(swin_state(released), strict=False)
    assert not unexpected
    assert set(missing) == {f"norm{index}.{kind}" for index in range(4) for kind in ("weight", "bias")}
    missing, unexpected = DenseSwin(**SMALL, window_size=12).load_state_dict(swin_state(released, 12), strict=False)
    assert not unexpected


def test_position_tables_are_resized_to_the_window() -> None:
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    offsets = torch.arange(-6.0, 7.0)
    grid = torch.stack([offsets[:, None].expand(13, 13), offsets.expand(13, 13)])  # (heads, 13, 13): row, column
    table = grid.flatten(1).T
    resized = swin_state({name: table}, window_size=12)[name]  # 13 -> 23 offsets each way
    assert resized.shape == (23 * 23, 2)
    rows, columns = resized.T.reshape(2, 23, 23)
    torch.testing.assert_close(rows, columns.T, rtol=0, atol=1e-5)
    assert rows[11, 11] == pytest.approx(0, abs=1e-5) and (rows.diff(dim=0) > 0).all()
    assert swin_state({name: table}, window_size=7)[name] is table


@pytest.mark.parametrize(
    ("parameter", "layer_wise_12", "layer_wise_6", "stage_wise"),
    [
        ("patch_embed.norm.weight", 0, 0, 0),
        ("layers.0.blocks.0.norm1.weight", 1, 1, 1),
        ("layers.0.blocks.1.mlp.fc1.weight", 2, 1, 1),
        ("layers.0.downsample.reduction.weight", 2, 1, 2),
        ("layers.2.blocks.5.attn.qkv.bias", 10, 5, 3),
        ("layers.3.blocks.1.attn.relative_position_bias_table", 12, 6, 4),
        ("norm0.weight", 13, 7, None),
    ],
)
def test_layer_depth(parameter: str, layer_wise_12: int, layer_wise_6: int, stage_wise: int | None) -> None:
    with torch.device("meta"):
        backbone = backbones.build("swin_t")  # 12 blocks
    assert backbone.layer_depth(parameter, "layer_wise", 12) == layer_wise_12
    assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "stage_wise", 12) == (13 if stage_wise is None else stage_wise)
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth(parameter, "block_wise", 12)


def test_drop_path_rises_linearly_from_zero() -> None:
    with torch.device("meta"):
        backbone = DenseSwin(**SMALL, drop_path_rate=0.7)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for stage in backbone.layers for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_output_indices() -> None:
    backbone = DenseSwin(**SMALL, out_indices=(1, 3))
    assert backbone.out_channels == (48, 192) and backbone.out_strides == (8, 32)
    assert [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 3, 33, 64))] == [(48, 5, 8), (192, 2, 2)]
