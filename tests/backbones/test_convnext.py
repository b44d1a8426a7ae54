"""ConvNeXt, V2, large kernels: equal to timm's, the published sizes, the authors' depth of every parameter."""

import pytest
import timm
import torch
from timm.models.convnext import ConvNeXt, checkpoint_filter_fn

import backbones
from backbones.convnext import DenseConvNeXt, DenseConvNeXtV2

SMALL = {"depths": (1, 2, 3, 1), "dims": (16, 24, 32, 48)}


def timm_twin(ours: DenseConvNeXt, **arguments: object) -> ConvNeXt:
    """timm's model with our weights, through timm's own reading of the authors' parameter names."""
    twin = ConvNeXt(num_classes=0, **SMALL, **arguments)
    # A checkpoint of the authors has the classifier's norm as `norm`; ours has one norm per output level.
    state = {name: value for name, value in ours.state_dict().items() if not name.startswith("norm")}
    state["norm.weight"], state["norm.bias"] = torch.ones(48), torch.zeros(48)
    missing, unexpected = twin.load_state_dict(checkpoint_filter_fn(state, twin), strict=False)
    assert not missing and not unexpected
    return twin


@pytest.mark.parametrize("version", ["V1", "V2", "V1 with large kernels"])
def test_equals_timm_forward_and_input_gradient(version: str) -> None:
    torch.manual_seed(0)
    arguments: dict[str, object]
    if version == "V1":
        ours = DenseConvNeXt(**SMALL, layer_scale_init_value=1.0)
        arguments = {"ls_init_value": 1.0}
    elif version == "V1 with large kernels":
        ours = DenseConvNeXt(**SMALL, kernel_sizes=(31, 29, 27, 13), layer_scale_init_value=1.0)
        arguments = {"ls_init_value": 1.0, "kernel_sizes": (31, 29, 27, 13)}
    else:
        ours = DenseConvNeXtV2(**SMALL)
        arguments = {"ls_init_value": None, "use_grn": True}
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    twin = timm_twin(ours, **arguments)
    image = torch.randn(2, 3, 64, 96, requires_grad=True)
    twin_image = image.detach().clone().requires_grad_()

    maps = ours(image)
    # timm's maps come before any output norm.
    raw = twin.forward_intermediates(twin_image, intermediates_only=True)
    expected = [ours.get_submodule(f"norm{index}")(level) for index, level in enumerate(raw)]
    sum(level.square().sum() for level in maps).backward()
    sum(level.square().sum() for level in expected).backward()

    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad, twin_image.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["convnext_t", "convnextv2_atto"])
@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
def test_gradients_of_parameters_are_those_of_torchs_layers(name: str, drop_path_rate: float) -> None:
    torch.manual_seed(0)
    backbone = backbones.build(name, **SMALL, drop_path_rate=drop_path_rate).train()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    image = torch.randn(2, 3, 64, 96)

    found = step(backbone, image)
    with torch.backends.mkldnn.flags(enabled=False):
        wanted = step(backbone, image)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()), msg=key)


@pytest.mark.parametrize("name", ["convnext_t", "convnextv2_atto", "convnext_iso_s"])
def test_checkpointing_gives_the_same_gradients(name: str) -> None:
    torch.manual_seed(0)
    arguments = {"depth": 2, "dim": 32} if "iso" in name else SMALL
    plain = backbones.build(name, **arguments, drop_path_rate=0.5).train()
    saving = backbones.build(name, **arguments, drop_path_rate=0.5, use_checkpoint=True).train()
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 96)
    found, wanted = step(saving, image), step(plain, image)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=key)


def step(backbone: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    backbone.zero_grad()
    torch.manual_seed(1)  # of drop path
    sum(level.square().mean() for level in backbone(image)).backward()
    return {key: parameter.grad for key, parameter in backbone.named_parameters()}


@pytest.mark.parametrize("name", ["convnext_t", "convnextv2_atto"])
def test_inference_equals_evaluation_with_gradients(name: str) -> None:
    torch.manual_seed(0)
    backbone = backbones.build(name, **SMALL).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    image = torch.randn(2, 3, 64, 96)
    wanted = backbone(image)
    with torch.inference_mode():
        for found, level in zip(backbone(image), wanted, strict=True):
            torch.testing.assert_close(found, level, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_t", "convnextv2_atto"])
def test_compiles_as_one_graph(name: str) -> None:
    torch.manual_seed(0)
    backbone = backbones.build(name, **SMALL).eval()
    image = torch.randn(1, 3, 64, 64)
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    for found, wanted in zip(compiled(image), backbone(image), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "params_m"),
    [
        # ConvNeXt, table 1 and the authors' README; the classifier (768 * 1000 + 1000 for T and S) is gone here.
        ("convnext_t", 28.6 - 0.77),
        ("convnext_s", 50.2 - 0.77),
        ("convnext_b", 88.6 - 1.03),
        ("convnext_l", 197.8 - 1.54),
        ("convnext_xl", 350.2 - 2.05),
        # ConvNeXt V2, table 9 / the authors' README.
        ("convnextv2_atto", 3.7 - 0.32),
        ("convnextv2_femto", 5.2 - 0.39),
        ("convnextv2_pico", 9.1 - 0.51),
        ("convnextv2_nano", 15.6 - 0.64),
        ("convnextv2_tiny", 28.6 - 0.77),
        ("convnextv2_base", 88.7 - 1.03),
        ("convnextv2_large", 198.0 - 1.54),
        ("convnextv2_huge", 660.3 - 2.82),
    ],
)
def test_published_size(name: str, params_m: float) -> None:
    with torch.device("meta"):
        backbone = backbones.build(name)
    found = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    assert found == pytest.approx(params_m, abs=0.06, rel=5e-3)


@pytest.mark.parametrize(("size", "depths"), [("t", (3, 3, 9, 3)), ("s", (3, 3, 27, 3))])
def test_large_kernels_replace_the_7x7_ones_and_nothing_else(size: str, depths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        large = backbones.build(f"convnext_{size}_k31").state_dict()
        plain = backbones.build(f"convnext_{size}").state_dict()
    assert large.keys() == plain.keys()
    kernels = {name: value for name, value in large.items() if name.endswith("dwconv.weight")}
    assert {name for name, value in large.items() if value.shape != plain[name].shape} == kernels.keys()
    added = sum(value.numel() for value in large.values()) - sum(value.numel() for value in plain.values())
    sides = zip(depths, (96, 192, 384, 768), (31, 29, 27, 13), strict=True)
    assert added == sum(depth * dim * (side**2 - 7**2) for depth, dim, side in sides)


def test_drop_path_rises_linearly_from_zero() -> None:
    backbone = DenseConvNeXt(**SMALL, drop_path_rate=0.6)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in backbone.stages for block in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_layer_scale_and_output_indices() -> None:
    backbone = DenseConvNeXt(**SMALL, layer_scale_init_value=0.0, out_indices=(1, 3))
    assert not any(name.endswith("gamma") for name, _ in backbone.named_parameters())
    assert backbone.out_channels == (24, 48) and backbone.out_strides == (8, 32)
    assert [level.shape[1] for level in backbone(torch.zeros(1, 3, 64, 64))] == [24, 48]


@pytest.mark.parametrize(
    ("parameter", "layer_wise_6", "layer_wise_12", "stage_wise"),
    [
        # Depths that the authors' constructor gives (layer_decay_optimizer_constructor.py, both decay types).
        ("downsample_layers.0.0.weight", 0, 0, 0),
        ("downsample_layers.1.1.bias", 2, 2, 0),
        ("downsample_layers.2.0.weight", 3, 3, 0),
        ("downsample_layers.3.1.weight", 6, 12, 0),
        ("stages.0.2.gamma", 1, 1, 1),
        ("stages.1.0.dwconv.weight", 2, 2, 2),
        ("stages.2.0.norm.weight", 3, 3, 3),
        ("stages.2.8.pwconv1.weight", 5, 5, 3),
        ("stages.2.26.pwconv2.bias", 11, 11, 3),
        ("stages.3.1.dwconv.bias", 6, 12, 4),
        ("norm0.weight", 7, 13, None),
        ("norm3.bias", 7, 13, None),
    ],
)
def test_layer_depth_is_the_authors(
    parameter: str, layer_wise_6: int, layer_wise_12: int, stage_wise: int | None
) -> None:
    backbone = DenseConvNeXt(**SMALL)
    if "26" not in parameter:  # stage 3 of S to XL, whose recipes have 12 layers
        assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "layer_wise", 12) == layer_wise_12
    for num_layers in (6, 12):
        expected = num_layers + 1 if stage_wise is None else stage_wise
        assert backbone.layer_depth(parameter, "stage_wise", num_layers) == expected


def test_layer_depth_refuses_what_it_does_not_know() -> None:
    backbone = DenseConvNeXt(**SMALL)
    with pytest.raises(ValueError, match=r"no parameter 'head\.weight'"):
        backbone.layer_depth("head.weight", "layer_wise", 6)
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth("stages.0.0.gamma", "block_wise", 6)


def test_timm_is_recent_enough_for_the_comparison() -> None:
    assert hasattr(timm.create_model("convnext_atto"), "forward_intermediates")
