"""timm models as backbones: the contract over many kinds of models, timm's names, padding, pyramids, clear refusals."""

import pickle

import pytest
import timm
import torch
from torch import nn

import backbones
from backbones.timm_backbone import FixedInputSizeError, NoPyramidError, TimmBackbone, timm_accepts

SIZES = [(64, 96), (65, 97)]

# A residual network, a modern one, windows, a plain transformer, inverted bottlenecks, windows bound to the pretraining
# size, spatial reduction, and a plain transformer with patches of 14 pixels.
KINDS = (
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "maxvit_rmlp_pico_rw_256",
    "pvt_v2_b0",
    "eva02_tiny_patch14_224",
)

SPREAD = (
    "convmixer_768_32",
    "convnextv2_atto",
    "cs3darknet_focus_s",
    "davit_tiny",
    "deit_tiny_distilled_patch16_224",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "edgenext_xx_small",
    "efficientnet_b0",
    "efficientvit_b0",
    "ese_vovnet19b_slim",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "ghostnet_050",
    "halonet26t",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hrnet_w18_small",
    "inception_next_atto",
    "legacy_seresnet18",
    "mambaout_femto",
    "mobilenetv4_conv_small_050",
    "mobilevitv2_050",
    "mvitv2_tiny",
    "nf_resnet26",
    "poolformer_s12",
    "rdnet_tiny",
    "regnetx_002",
    "repvit_m0_9",
    "res2net50_26w_4s",
    "resnest14d",
    "resnetv2_50",
    "rexnet_100",
    "sam2_hiera_tiny",
    "starnet_s1",
    "swiftformer_xs",
    "swinv2_tiny_window8_256",
    "tiny_vit_5m_224",
    "tresnet_m",
    "twins_pcpvt_small",
    "vgg11",
    "vit_tiny_r_s16_p8_224",
    "xcit_nano_12_p8_224",
)

# timm's group_matcher lacks some or all of their parameters.
UNORDERED = ("densenet121", "hrnet_w18_small", "poolformer_s12", "rdnet_tiny")

REFUSED = (
    ("beit_base_patch16_224", FixedInputSizeError),
    ("cait_xxs24_224", FixedInputSizeError),
    ("coat_lite_tiny", FixedInputSizeError),
    ("coatnet_nano_rw_224", FixedInputSizeError),
    ("convit_tiny", FixedInputSizeError),
    ("efficientformer_l1", FixedInputSizeError),
    ("efficientformerv2_s0", FixedInputSizeError),
    ("gcvit_xxtiny", FixedInputSizeError),
    ("gmlp_s16_224", FixedInputSizeError),
    ("hiera_tiny_224", FixedInputSizeError),
    ("inception_v3", FixedInputSizeError),
    ("mixer_s16_224", FixedInputSizeError),
    ("tnt_s_patch16_224", FixedInputSizeError),
    ("vit_relpos_small_patch16_224", FixedInputSizeError),
    ("crossvit_tiny_240", NoPyramidError),
    ("efficientvit_m0", NoPyramidError),
    ("levit_128", NoPyramidError),
    ("nest_tiny", NoPyramidError),
    ("pit_ti_224", NoPyramidError),
    ("sequencer2d_s", NoPyramidError),
    ("visformer_tiny", NoPyramidError),
    ("volo_d1_224", NoPyramidError),
)


def check_contract(name: str) -> None:
    """Levels at both sizes, gradients of all parameters, timm's names, an order of the layers."""
    torch.manual_seed(0)
    backbone = backbones.build(f"timm/{name}").train()
    assert backbone.out_strides == (4, 8, 16, 32)
    for size in SIZES:
        maps = backbone(torch.randn(2, 3, *size))
        assert len(maps) == len(backbone.out_channels) == len(backbone.out_indices) == 4
        for level, channels, stride in zip(maps, backbone.out_channels, backbone.out_strides, strict=True):
            assert level.shape[:2] == (2, channels)
            for found, length in zip(level.shape[2:], size, strict=True):
                assert found in (length // stride, -(-length // stride))
        sum(level.square().mean() for level in maps).backward()
        gradients = {key: parameter.grad for key, parameter in backbone.named_parameters()}
        assert not [key for key, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()]
        backbone.zero_grad(set_to_none=True)

    with torch.device("meta"):
        timm_shapes = {key: value.shape for key, value in timm.create_model(name).state_dict().items()}
    for key, value in backbone.state_dict().items():
        if not key.startswith("pyramid."):
            assert value.shape == timm_shapes[key.removeprefix("model.")]
    if name in UNORDERED:
        with pytest.raises(ValueError, match="group_matcher"):
            parameter_depths(backbone, "stage_wise", 12)
        return
    for decay_type in ("layer_wise", "stage_wise"):
        for num_layers in (6, 12):
            depths = parameter_depths(backbone, decay_type, num_layers).values()
            assert set(depths) <= set(range(num_layers + 2))
            assert min(depths) == 0


def parameter_depths(backbone: nn.Module, decay_type: str, num_layers: int) -> dict[str, int]:
    return {key: backbone.layer_depth(key, decay_type, num_layers) for key, _ in backbone.named_parameters()}


@pytest.mark.parametrize("name", KINDS)
def test_contract_of_different_kinds(name: str) -> None:
    check_contract(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPREAD)
def test_contract_of_many_families(name: str) -> None:
    check_contract(name)


def test_spread_has_no_model_twice() -> None:
    assert len({*SPREAD, *KINDS}) == len(SPREAD) + len(KINDS) >= 48


@pytest.mark.parametrize(("name", "error"), REFUSED)
def test_models_without_maps_at_any_size_are_refused_by_name(name: str, error: type[NoPyramidError]) -> None:
    with torch.device("meta"), pytest.raises(NoPyramidError, match=rf"^timm/{name} .*Choose a model") as refusal:
        backbones.build(f"timm/{name}")
    assert type(refusal.value) is error


def test_equals_the_timm_model_itself() -> None:
    torch.manual_seed(0)
    backbone = backbones.build("timm/resnet18").eval()
    twin = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    twin.load_state_dict({key.removeprefix("model."): value for key, value in backbone.state_dict().items()})
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for found, wanted in zip(backbone(image), twin(image), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_plain_transformer_gives_its_normalized_map_at_its_own_stride() -> None:
    torch.manual_seed(0)
    backbone = backbones.build("timm/vit_tiny_patch16_224").eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        tokens = backbone.model.forward_features(image)[:, 1:]  # without the class token: (N, 4 * 6, C)
        found = backbone(image)[2]
    torch.testing.assert_close(found, tokens.transpose(1, 2).unflatten(2, (4, 6)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "multiple"),
    [
        ("resnet18", 1),
        ("swin_tiny_patch4_window7_224", 4),
        ("vit_tiny_patch16_224", 16),
        ("dla46x_c", 32),
        ("mobilevitv2_050", 64),
        ("maxvit_rmlp_pico_rw_256", 256),
    ],
)
def test_images_are_padded_to_what_the_model_needs(name: str, multiple: int) -> None:
    with torch.device("meta"):
        assert backbones.build(f"timm/{name}").multiple == multiple


def test_padding_does_not_move_the_maps() -> None:
    torch.manual_seed(0)
    backbone = backbones.build("timm/dla46x_c").eval()
    image = torch.zeros(1, 3, 96, 128)
    image[:, :, :65, :97] = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        maps, padded = backbone(image[:, :, :65, :97]), backbone(image)
    for level, whole in zip(maps, padded, strict=True):
        torch.testing.assert_close(level, whole[:, :, : level.shape[2], : level.shape[3]], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_frozen_stages_and_pickling(name: str) -> None:
    torch.manual_seed(0)
    backbone = backbones.build(f"timm/{name}", frozen_stages=1, drop_path_rate=0.5).train()
    stages = {key: backbone.stage_of(key) for key, _ in backbone.named_parameters()}
    assert min(stages.values()) == 0
    assert all(parameter.requires_grad == (stages[key] > 1) for key, parameter in backbone.named_parameters())
    assert all(parameter.requires_grad for key, parameter in backbone.named_parameters() if "pyramid" in key)

    image = torch.randn(1, 3, 64, 96)
    unpickled = pickle.loads(pickle.dumps(backbone.eval()))
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(backbone(image), unpickled(image), strict=True))


def test_a_new_pyramid_learns_at_the_full_rate() -> None:
    with torch.device("meta"):
        backbone = backbones.build("timm/vit_tiny_patch16_224")
    for decay_type in ("layer_wise", "stage_wise"):
        depths = parameter_depths(backbone, decay_type, 12)
        assert {depth for key, depth in depths.items() if key.startswith("pyramid.")} == {13}
        assert depths["model.patch_embed.proj.weight"] == depths["model.cls_token"] == 0
        assert depths["model.blocks.0.attn.qkv.weight"] == 1
        assert depths["model.blocks.11.mlp.fc2.bias"] == depths["model.norm.weight"] == 12


def test_what_group_matcher_does_not_place_is_an_error() -> None:
    with torch.device("meta"):
        unmatched, without = TimmBackbone("hrnet_w18_small"), TimmBackbone("poolformer_s12")
    assert unmatched.layer_depth("model.conv1.weight", "layer_wise", 12) == 0
    with pytest.raises(ValueError, match=r"places no parameter 'incre_modules\.0\.0\.conv1\.weight'"):
        unmatched.layer_depth("model.incre_modules.0.0.conv1.weight", "layer_wise", 12)
    with pytest.raises(ValueError, match=r"MetaFormer of timm has no such group_matcher"):
        without.layer_depth("model.stem.conv.weight", "layer_wise", 12)
    with torch.device("meta"), pytest.raises(ValueError, match="without frozen stages"):
        TimmBackbone("poolformer_s12", frozen_stages=1)
    with pytest.raises(ValueError, match="decay_type"):
        unmatched.layer_depth("model.conv1.weight", "block_wise", 12)


def test_arguments_that_a_model_does_not_know() -> None:
    assert timm_accepts("resnet18", "drop_path_rate", 0.1)
    assert not timm_accepts("vgg11", "drop_path_rate", 0.1)
    with torch.device("meta"), pytest.raises(TypeError, match="drop_path_rate"):
        backbones.build("timm/vgg11", drop_path_rate=0.1)
