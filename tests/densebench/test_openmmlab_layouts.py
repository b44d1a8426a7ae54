"""Weights in the layouts of OpenMMLab's toolboxes: the same maps from our backbones as from theirs."""

import torch
from mmseg.models import SwinTransformer
from released_key_sets import replknet, tensors
from torch import Tensor

import backbones
import densebench.registration  # noqa: F401
from backbones.swin import DenseSwin
from densebench.checkpoint import LoadReport, compare
from densebench.key_layouts import for_backbone


def report_of(file: dict[str, Tensor], own: dict[str, Tensor]) -> LoadReport:
    state, layout = for_backbone(file, own)
    return compare(own, state, layout)


def small_swins() -> tuple[SwinTransformer, DenseSwin]:
    """mmseg's and ours, two blocks a stage, so that windows shift; all of mmseg's parameters random."""
    torch.manual_seed(0)
    depths, num_heads = (2, 2, 2, 2), (1, 2, 4, 8)
    theirs = SwinTransformer(embed_dims=8, depths=depths, num_heads=num_heads, window_size=4, pretrain_img_size=64)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.eval()  # returns None
    return theirs, DenseSwin(embed_dim=8, depths=depths, num_heads=num_heads, window_size=4).eval()


def test_mmsegs_swin_computes_the_same_here() -> None:
    theirs, ours = small_swins()
    state, layout = for_backbone({f"backbone.{name}": value for name, value in theirs.state_dict().items()}, {})
    assert layout == "Swin (mmseg)"
    ours.load_state_dict(state)  # strict: every name, every shape
    image = torch.randn(2, 3, 72, 100)  # sizes that no window divides
    with torch.no_grad():
        for expected, found in zip(theirs(image), ours(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_mmsegs_imagenet_swin_leaves_the_output_norms_new() -> None:
    theirs, ours = small_swins()
    file = {name: value for name, value in theirs.state_dict().items() if not name.startswith("norm")}
    file |= {"norm.weight": torch.ones(64), "norm.bias": torch.zeros(64)}
    report = report_of(file, ours.state_dict())
    assert set(report.missing) == {f"norm{level}.{kind}" for level in range(4) for kind in ("weight", "bias")}
    assert not report.unknown and set(report.classifier) == {"norm.weight", "norm.bias"}


def test_mmpretrains_replknet_holds_the_classifiers_norm_as_that_of_the_last_level() -> None:
    dims = (128, 256, 512, 1024)
    official = tensors(replknet(dims, (31, 29, 27, 13), small=5, ratio=1, outputs=False))
    body = {name: value for name, value in official.items() if name.split(".")[0] not in ("norm", "head")}
    norm = {f"backbone.stages.3.norm.{name}": torch.empty(1024) for name in ("weight", "bias", "running_mean")}
    file = {f"backbone.{name}": value for name, value in body.items()} | norm | {"head.fc.bias": torch.empty(1000)}
    for name, new in (("replknet_31b", 0), ("replknet_31b_with_norms", 4 * 5)):
        with torch.device("meta"):
            own = backbones.build("replknet_31b", norm_outputs=name.endswith("norms")).state_dict()
        report = report_of(file, own)
        assert report.layout == "RepLKNet (mmpretrain)" and len(report.missing) == new
        assert not report.unknown and set(report.classifier) == {"norm.weight", "norm.bias", "norm.running_mean"}
