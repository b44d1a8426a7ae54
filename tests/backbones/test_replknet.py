"""RepLKNet: names of the released checkpoints, merged branches equal to trained ones, depths of the parameters."""

import itertools

import pytest
import torch
from torch import nn

import backbones
from backbones.replknet import DenseRepLKNet

# The forms of 31B and of XL, with few channels and blocks.
SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 12, 16, 24)}
SMALL_XL = {
    **SMALL,
    "kernel_sizes": (27, 27, 27, 13),
    "small_kernel_size": None,
    "bottleneck_ratio": 1.5,
    "norm_outputs": True,
}


def with_random_statistics(backbone: nn.Module) -> nn.Module:
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return backbone


@pytest.mark.parametrize("fold_norms", [True, False])
@pytest.mark.parametrize("arguments", [SMALL, SMALL_XL])
def test_merged_equals_trained(arguments: dict[str, object], fold_norms: bool) -> None:
    torch.manual_seed(0)
    backbone = with_random_statistics(DenseRepLKNet(**arguments)).eval()
    image = torch.randn(2, 3, 64, 96, requires_grad=True)
    expected = backbone(image)
    (wanted,) = torch.autograd.grad(sum(level.square().mean() for level in expected), image)

    backbone.merge_reparameterization(fold_norms)
    found = backbone(image)
    (gradient,) = torch.autograd.grad(sum(level.square().mean() for level in found), image)
    for merged, trained in zip((*found, gradient), (*expected, wanted), strict=True):
        assert (merged - trained).abs().max() <= 1e-4 * trained.abs().max()

    state = backbone.state_dict()
    assert not any("lkb_origin" in name or "small_conv" in name for name in state)
    left = {name for name, module in backbone.named_modules() if isinstance(module, nn.BatchNorm2d)}
    outputs = {f"stages.{stage}.norm" for stage in range(4)} if arguments.get("norm_outputs") else set()
    assert left == outputs if fold_norms else left > outputs
    backbone.merge_reparameterization(fold_norms)
    assert backbone.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())


def test_merging_keeps_dtype_device_and_what_is_frozen() -> None:
    backbone = DenseRepLKNet(**SMALL, frozen_stages=1).double()
    backbone.merge_reparameterization()
    merged = {name: value for name, value in backbone.named_parameters() if "lkb_reparam" in name}
    assert {value.dtype for value in merged.values()} == {torch.float64}
    assert all(value.requires_grad == (not name.startswith("stages.0")) for name, value in merged.items())
    assert not backbone.stages[0].blocks[0].large_kernel.lkb_reparam.training

    with torch.device("meta"):
        backbone = DenseRepLKNet(**SMALL)
    backbone.merge_reparameterization()
    assert all(value.is_meta for value in backbone.parameters())


def test_parameter_names_are_those_of_the_released_checkpoints() -> None:
    backbone = DenseRepLKNet(**SMALL_XL | {"small_kernel_size": 5})
    stem = [f"stem.{index}.{part}" for index in range(4) for part in ("conv.weight", "bn.weight", "bn.bias")]
    block = [
        *("prelkb_bn.weight", "prelkb_bn.bias"),
        *(f"pw1.{part}" for part in ("conv.weight", "bn.weight", "bn.bias")),
        *(f"large_kernel.lkb_origin.{part}" for part in ("conv.weight", "bn.weight", "bn.bias")),
        *(f"large_kernel.small_conv.{part}" for part in ("conv.weight", "bn.weight", "bn.bias")),
        *(f"pw2.{part}" for part in ("conv.weight", "bn.weight", "bn.bias")),
    ]
    feed_forward = [
        *("preffn_bn.weight", "preffn_bn.bias"),
        *(f"{layer}.{part}" for layer in ("pw1", "pw2") for part in ("conv.weight", "bn.weight", "bn.bias")),
    ]
    stages = [
        name
        for stage, depth in enumerate(SMALL["depths"])
        for name in (
            *(f"stages.{stage}.blocks.{2 * pair}.{part}" for pair in range(depth) for part in block),
            *(f"stages.{stage}.blocks.{2 * pair + 1}.{part}" for pair in range(depth) for part in feed_forward),
            f"stages.{stage}.norm.weight",
            f"stages.{stage}.norm.bias",
        )
    ]
    transitions = [
        f"transitions.{index}.{layer}.{part}"
        for index in range(3)
        for layer in range(2)
        for part in ("conv.weight", "bn.weight", "bn.bias")
    ]
    assert {name for name, _ in backbone.named_parameters()} == {*stem, *stages, *transitions}

    backbone.merge_reparameterization()
    merged = {name for name, _ in backbone.named_parameters() if ".large_kernel." in name and "stages.3" in name}
    assert merged == {f"stages.3.blocks.0.large_kernel.lkb_reparam.{part}" for part in ("weight", "bias")}


@pytest.mark.parametrize(
    ("name", "kernels", "small"),
    [
        ("replknet_3", [3, 3, 3, 3], []),
        ("replknet_7", [7, 7, 7, 7], [5, 5, 5, 5]),
        ("replknet_13", [13, 13, 13, 13], [5, 5, 5, 5]),
        ("replknet_25", [25, 25, 25, 13], [5, 5, 5, 5]),
        ("replknet_31b", [31, 29, 27, 13], [5, 5, 5, 5]),
        ("replknet_31l", [31, 29, 27, 13], [5, 5, 5, 5]),
        ("replknet_xl", [27, 27, 27, 13], []),
    ],
)
def test_kernels_and_parallel_branches(name: str, kernels: list[int], small: list[int]) -> None:
    with torch.device("meta"):
        state = backbones.build(name).state_dict()
    branches = "stages.{}.blocks.0.large_kernel.{}.conv.weight"
    assert [state[branches.format(stage, "lkb_origin")].shape[-1] for stage in range(4)] == kernels
    parallel = [branches.format(stage, "small_conv") for stage in range(4)]
    assert [state[key].shape[-1] for key in parallel if key in state] == small


def test_drop_path_is_that_of_a_pair_and_rises_linearly() -> None:
    backbone = DenseRepLKNet(**SMALL, drop_path_rate=0.8)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([rate for rate in (0.0, 0.2, 0.4, 0.6, 0.8) for _ in range(2)])


def test_output_levels_and_their_norms() -> None:
    backbone = DenseRepLKNet(**SMALL_XL | {"out_indices": (1, 3)}).eval()
    assert backbone.out_channels == (12, 24) and backbone.out_strides == (8, 32)
    normed = {name.split(".")[1] for name, _ in backbone.named_parameters() if ".norm." in name}
    assert normed == {"1", "3"}
    assert [level.shape for level in backbone(torch.zeros(1, 3, 64, 64))] == [(1, 12, 8, 8), (1, 24, 2, 2)]


def test_checkpointing_changes_neither_gradients_nor_statistics() -> None:
    torch.manual_seed(0)
    plain = DenseRepLKNet(**SMALL, drop_path_rate=0.5)
    saving = DenseRepLKNet(**SMALL, drop_path_rate=0.5, use_checkpoint=True)
    saving.load_state_dict(plain.state_dict())
    computed = []
    saving.stages[0].blocks[0].pw1.register_forward_hook(lambda *call: computed.append(call))
    image = torch.randn(2, 3, 64, 96)
    for backbone in (plain, saving):
        torch.manual_seed(1)
        sum(level.square().mean() for level in backbone(image)).backward()
    assert len(computed) == 2  # in the forward and in the backward pass
    for (name, wanted), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, msg=name)
    assert all(torch.equal(value, saving.state_dict()[name]) for name, value in plain.state_dict().items())


@pytest.mark.parametrize(
    ("process_group", "cuda", "wanted", "found"),
    [
        (True, True, True, nn.SyncBatchNorm),
        (True, True, False, nn.BatchNorm2d),
        (True, False, True, nn.BatchNorm2d),
        (False, True, True, nn.BatchNorm2d),
    ],
)
def test_sync_bn_where_there_is_something_to_synchronize(
    monkeypatch: pytest.MonkeyPatch, process_group: bool, cuda: bool, wanted: bool, found: type[nn.Module]
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: process_group)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    backbone = DenseRepLKNet(**SMALL_XL, use_sync_bn=wanted, frozen_stages=0)
    norms = [module for module in backbone.modules() if "Norm" in type(module).__name__]
    assert len(norms) == 4 + 5 * 7 + 3 * 2 + 4 and {type(norm) for norm in norms} == {found}
    assert not backbone.stem[0].bn.weight.requires_grad


@pytest.mark.parametrize(
    ("parameter", "layer_wise_6", "layer_wise_12", "stage_wise"),
    [
        # Depths for 12 layers as the authors' optim_factory.py gives them; with 6, a layer of stage 3 has 6 pairs.
        ("stem.3.conv.weight", 0, 0, 0),
        ("stages.0.blocks.3.pw2.bn.bias", 1, 1, 1),
        ("transitions.0.0.conv.weight", 1, 1, 0),
        ("stages.1.blocks.0.large_kernel.lkb_origin.conv.weight", 2, 2, 2),
        ("transitions.1.1.bn.weight", 2, 2, 0),
        ("stages.2.blocks.3.preffn_bn.weight", 3, 3, 3),
        ("stages.2.blocks.4.pw1.conv.weight", 3, 4, 3),
        ("stages.2.blocks.12.pw1.conv.weight", 4, 6, 3),
        ("stages.2.blocks.32.large_kernel.lkb_reparam.bias", 5, 11, 3),
        ("transitions.2.0.bn.bias", 5, 11, 0),
        ("stages.3.blocks.0.prelkb_bn.bias", 6, 12, 4),
        ("stages.2.norm.weight", 5, 11, 3),
    ],
)
def test_layer_depth(parameter: str, layer_wise_6: int, layer_wise_12: int, stage_wise: int) -> None:
    with torch.device("meta"):
        backbone = backbones.build("replknet_3")
    assert backbone.layer_depth(parameter, "layer_wise", 6) == layer_wise_6
    assert backbone.layer_depth(parameter, "layer_wise", 12) == layer_wise_12
    assert backbone.layer_depth(parameter, "stage_wise", 12) == stage_wise


def test_layer_depth_never_falls_on_the_way_through_the_network() -> None:
    with torch.device("meta"):
        backbone = backbones.build("replknet_xl")
    order = ["stem.0.conv.weight"]
    for stage, depth in enumerate(backbone.depths):
        order += [f"stages.{stage}.blocks.{block}.pw1.conv.weight" for block in range(2 * depth)]
        order += [f"stages.{stage}.norm.bias", *([f"transitions.{stage}.0.conv.weight"] if stage < 3 else [])]
    for num_layers in (1, 2, 3, 6, 12, 20):
        depths = [backbone.layer_depth(name, "layer_wise", num_layers) for name in order]
        assert all(0 <= before <= after <= num_layers for before, after in itertools.pairwise(depths))
        assert depths[0] == 0 and depths[-1] == num_layers


def test_layer_depth_refuses_what_it_does_not_know() -> None:
    backbone = DenseRepLKNet(**SMALL)
    with pytest.raises(ValueError, match=r"no parameter 'head\.weight'"):
        backbone.layer_depth("head.weight", "layer_wise", 12)
    with pytest.raises(ValueError, match="decay_type"):
        backbone.layer_depth("stem.0.conv.weight", "block_wise", 12)
