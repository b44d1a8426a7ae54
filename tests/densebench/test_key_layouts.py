"""Key layouts: files with the key sets of the released ones fill our backbones and models whole.

Key sets of the authors' files are made by rule (`released_key_sets`), those of timm and torchvision by their models.
"""

import functools
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from released_key_sets import Shapes, convnext, fcmae, isotropic, replknet, swin, tensors
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

import backbones
from backbones.convnext import DenseConvNeXt, DenseConvNeXtV2
from backbones.replknet import DenseRepLKNet
from backbones.swin import DenseSwin
from densebench.checkpoint import LoadReport, compare, load_state, require_match
from densebench.errors import DensebenchError
from densebench.key_layouts import (
    for_backbone,
    from_mmpretrain_convnext,
    from_sparse_convnext,
    from_timm_convnext,
    from_timm_swin,
    recognize,
    to_backbone_names,
)
from densebench.openmmlab_layouts import from_mmseg_resnet_v1c

T = {"depths": (3, 3, 9, 3), "dims": (96, 192, 384, 768)}
ATTO = {"depths": (2, 2, 6, 2), "dims": (40, 80, 160, 320)}
SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}


def on_meta(build: Callable[..., nn.Module], *arguments: object, **settings: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build(*arguments, **settings).state_dict()


def report_of(file: dict[str, Tensor], own: dict[str, Tensor]) -> LoadReport:
    state, layout = for_backbone(file, own)
    return compare(own, state, layout)


OUTPUT_NORMS = {f"norm{level}.{kind}" for level in range(4) for kind in ("weight", "bias")}
REPLKNET_31 = {"kernels": (31, 29, 27, 13), "small": 5, "ratio": 1}

# Backbone, layout, file, what is new in the backbone.
AUTHORS = [
    ("convnext_t", "ConvNeXt (authors)", convnext(**T), OUTPUT_NORMS),
    ("convnextv2_atto", "ConvNeXt (authors)", convnext(**ATTO, grn=True), OUTPUT_NORMS),
    ("convnextv2_atto", "ConvNeXt V2, FCMAE pretraining (authors)", fcmae(**ATTO), OUTPUT_NORMS),
    ("convnext_t", "ConvNeXt (authors)", convnext(**T, outputs=True), set()),
    ("convnext_iso_s", "isotropic ConvNeXt (authors)", isotropic(18, 384), "pyramid."),
    ("replknet_31b", "RepLKNet (authors)", replknet((128, 256, 512, 1024), **REPLKNET_31, outputs=False), set()),
    (
        "replknet_xl",
        "RepLKNet (authors)",
        replknet((256, 512, 1024, 2048), (27, 27, 27, 13), None, ratio=1.5, outputs=True),
        set(),
    ),
    ("swin_t", "Swin (authors)", swin(96, (3, 6, 12, 24), (2, 2, 6, 2), window=7), OUTPUT_NORMS),
    ("swin_b", "Swin (authors)", swin(128, (4, 8, 16, 32), (2, 2, 18, 2), window=12), OUTPUT_NORMS),
    ("swin_t", "Swin (authors)", swin(96, (3, 6, 12, 24), (2, 2, 6, 2), window=7, outputs=True), set()),
]
LIBRARIES = [
    ("resnet50", "ResNet (torchvision, timm)", functools.partial(torchvision.models.resnet50), set()),
    ("mobilenetv2_k3", "MobileNetV2 (torchvision)", functools.partial(torchvision.models.mobilenet_v2), set()),
    ("convnext_t", "ConvNeXt (timm)", functools.partial(timm.create_model, "convnext_tiny"), OUTPUT_NORMS),
    ("convnextv2_atto", "ConvNeXt (timm)", functools.partial(timm.create_model, "convnextv2_atto"), OUTPUT_NORMS),
    ("swin_t", "Swin (timm)", functools.partial(timm.create_model, "swin_tiny_patch4_window7_224"), OUTPUT_NORMS),
    ("resnext101_32x4d", "ResNet (torchvision, timm)", functools.partial(timm.create_model, "resnext101_32x4d"), set()),
    ("mobilenetv2_k3", "MobileNetV2 (timm)", functools.partial(timm.create_model, "mobilenetv2_100"), set()),
]


def check_filled(report: LoadReport, layout: str, new: set[str] | str) -> None:
    assert report.layout == layout and layout in report.summary()
    assert not report.unknown and not report.other_shape and report.used_percent == 100
    if isinstance(new, str):
        assert report.missing and all(name.startswith(new) for name in report.missing)
    else:
        assert set(report.missing) == new
    assert f"{len(report.missing)} new here, 0 unexpected" in report.summary()
    require_match(report, "file", "the backbone", 90.0, allow_partial=False)


@pytest.mark.parametrize(("name", "layout", "file", "new"), AUTHORS)
def test_the_authors_files_fill_their_backbones(name: str, layout: str, file: Shapes, new: set[str] | str) -> None:
    report = report_of(tensors(file), on_meta(backbones.build, name))
    check_filled(report, layout, new)
    own_classifier = {key for key in file if key.startswith(("norm.", "head."))}
    if name.startswith("convnext_iso"):  # it needs the norm, which stands before its pyramid
        own_classifier -= {"norm.weight", "norm.bias"}
    assert set(report.classifier) == own_classifier


@pytest.mark.parametrize(("name", "layout", "build", "new"), LIBRARIES)
def test_timm_and_torchvision_files_fill_our_backbones(
    name: str, layout: str, build: Callable[[], nn.Module], new: set[str]
) -> None:
    report = report_of(on_meta(build), on_meta(backbones.build, name))
    check_filled(report, layout, new)
    assert report.classifier


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "resnet18", "vit_tiny_patch16_224"])
def test_timm_files_fill_timm_backbones_under_timm_names(name: str) -> None:
    report = report_of(on_meta(timm.create_model, name), on_meta(backbones.build, f"timm/{name}"))
    assert not report.unknown and not report.other_shape and report.matched_percent > 90
    assert all(key.startswith("pyramid.") for key in report.missing)


WRAPPERS = ["", "module.", "backbone.", "encoder.", "module.backbone.", "module.encoder."]


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_prefixes_of_training_codes_come_off(prefix: str) -> None:
    plain = tensors(convnext(**SMALL), "cpu")
    wrapped = {f"{prefix}{name}": value for name, value in plain.items()}
    if prefix.endswith(("backbone.", "encoder.")):
        wrapped[f"{prefix.removesuffix('backbone.').removesuffix('encoder.')}decode_head.conv_seg.bias"] = torch.ones(3)
    state, _ = to_backbone_names(wrapped)
    assert state.keys() == plain.keys() and all(torch.equal(state[name], plain[name]) for name in plain)


def test_a_layout_that_is_not_known_keeps_its_names() -> None:
    state = {"patches.weight": torch.zeros(3)}
    assert recognize(state) is None and to_backbone_names(state) == (state, None)


def test_a_prefix_of_the_backbones_own_names_stays() -> None:
    own = {"stem.weight": torch.zeros(3), "encoder.layer.weight": torch.zeros(3)}
    assert for_backbone(own, own)[0].keys() == own.keys()


def test_sparse_kernels_become_dense_ones() -> None:
    """FCMAE keeps position (row, column) of a k x k kernel at index column * k + row."""
    dense = DenseConvNeXtV2(**SMALL).state_dict()
    dense = {name: torch.randn(value.shape) for name, value in dense.items() if not name.startswith("norm")}
    sparse = {}
    for name, shape in fcmae(**SMALL).items():
        if not name.startswith("encoder."):
            continue
        name = name.removeprefix("encoder.")
        ours = name.replace(".ln.", ".").replace(".linear.", ".").replace(".kernel", ".weight")
        sparse[name] = torch.empty(shape) if name.endswith("kernel") else dense[ours].reshape(shape)
        if name.endswith("kernel"):
            size = dense[ours].shape[-1]
            for row in range(size):
                for column in range(size):
                    kernel = dense[ours][:, :, row, column]  # (C_out, C_in), C_in = 1 for a depthwise one
                    sparse[name][column * size + row] = kernel[:, 0] if ".dwconv." in name else kernel.T
    state = from_sparse_convnext(sparse)
    assert state.keys() == dense.keys() and all(torch.equal(state[name], dense[name]) for name in dense)


@pytest.mark.parametrize("grn", [False, True])
def test_timms_convnext_computes_the_same_under_our_names(grn: bool) -> None:
    torch.manual_seed(0)
    theirs = ConvNeXt(**SMALL, num_classes=5, use_grn=grn, ls_init_value=None if grn else 0.5, conv_mlp=grn).eval()
    for name, parameter in theirs.named_parameters():
        if ".grn." in name:
            nn.init.normal_(parameter)
    ours = (DenseConvNeXtV2 if grn else DenseConvNeXt)(**SMALL).eval()
    assert not load_state(ours, from_timm_convnext(theirs.state_dict())).other_shape
    image = x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for downsample, stage in zip(ours.downsample_layers, ours.stages, strict=True):
            x = stage(downsample(x))
        torch.testing.assert_close(x, theirs.forward_features(image), rtol=1e-5, atol=1e-5)


def test_mmpretrains_classifier_norm_is_no_output_norm() -> None:
    official = tensors(convnext(**SMALL, grn=True), "cpu")

    def theirs(name: str) -> str:
        for ours, other in (("dwconv", "depthwise_conv"), ("pwconv", "pointwise_conv"), ("head.", "head.fc.")):
            name = name.replace(ours, other)
        name = f"norm3.{name[5:]}" if name.startswith("norm.") else name
        return name if name.startswith("head.") else f"backbone.{name}"

    file = {theirs(name): value.flatten() if ".grn." in name else value for name, value in official.items()}
    report = report_of(file, DenseConvNeXtV2(**SMALL).state_dict())
    check_filled(report, "ConvNeXt (mmpretrain)", OUTPUT_NORMS)
    assert set(report.classifier) == {"norm.weight", "norm.bias"}
    downstream = {f"norm{level}.weight": torch.zeros(1) for level in range(4)}
    assert from_mmpretrain_convnext(downstream).keys() == downstream.keys()


def test_timms_swin_merges_at_the_end_of_a_stage_here() -> None:
    file = {"layers.1.downsample.norm.bias": torch.zeros(1), "layers.3.downsample.norm.bias": torch.zeros(1)}
    assert set(from_timm_swin(file)) == {"layers.0.downsample.norm.bias", "layers.2.downsample.norm.bias"}


def test_mmsegs_resnet_c_fills_the_deep_stem() -> None:
    own = on_meta(backbones.build, "resnet50", deep_stem=True)
    indices = {"conv1.0": 0, "conv1.1": 1, "conv1.3": 3, "conv1.4": 4, "conv1.6": 6, "bn1": 7}
    file = {}
    for name, value in own.items():
        module, _, kind = name.rpartition(".")
        file[f"stem.{indices[module]}.{kind}" if module in indices else name] = value
    check_filled(report_of(file, own), "ResNet-C (mmseg)", set())
    assert from_mmseg_resnet_v1c({"stem.7.weight": torch.zeros(1)}).keys() == {"bn1.weight"}


def test_swins_position_tables_take_the_backbones_window() -> None:
    own = DenseSwin(embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=3).state_dict()
    file = tensors(swin(8, (1, 2, 4, 8), (1, 2, 1, 1), window=7), "cpu")
    table = "layers.1.blocks.1.attn.relative_position_bias_table"
    file[table] = torch.tensor([1.0, -2.0]).expand(13 * 13, 2)
    state, layout = for_backbone(file, own)
    assert state[table].shape == (5 * 5, 2)
    torch.testing.assert_close(state[table], torch.tensor([1.0, -2.0]).expand(5 * 5, 2))
    check_filled(compare(own, state, layout), "Swin (authors)", OUTPUT_NORMS)


def test_merged_replknets_fit_merged_ones_alone() -> None:
    def small() -> DenseRepLKNet:
        return DenseRepLKNet(kernel_sizes=(7, 7, 7, 7), depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))

    merged, branches = small(), small()
    merged.merge_reparameterization()
    with pytest.raises(DensebenchError, match="cannot be taken apart"):
        for_backbone(merged.state_dict(), branches.state_dict())
    with pytest.raises(DensebenchError, match="Load it first"):
        for_backbone(branches.state_dict(), merged.state_dict())
    assert report_of(merged.state_dict(), merged.state_dict()).matched_percent == 100


def test_batch_counters_that_old_files_lack_start_at_0() -> None:
    own = on_meta(backbones.build, "resnet50")
    file = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    state, _ = for_backbone(file, own)
    assert state.keys() == own.keys() and state["bn1.num_batches_tracked"] == 0


def test_a_deeper_models_file_is_refused() -> None:
    own = on_meta(backbones.build, "convnext_t")
    report = report_of(tensors(convnext(depths=(3, 3, 27, 3), dims=T["dims"])), own)
    assert report.matched_percent > 99
    with pytest.raises(DensebenchError, match=r"(?s)takes only 5\d\.\d % of it.*a larger model.*stages\.2\.9\."):
        require_match(report, "convnext_small.pth", "the backbone", 90.0, allow_partial=False)
    require_match(report, "convnext_small.pth", "the backbone", 90.0, allow_partial=True)
