"""What users get wrong ends in one message that says what was expected and what to do, never in a traceback."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

import densebench.registration_detection  # noqa: F401
from backbones import UnknownBackboneError, backbone_config
from backbones.timm_backbone import TimmBackbone
from densebench import conversion
from densebench.checkpoint import compare, percent, read_checkpoint, require_match, state_dict_of, training_facts
from densebench.cost.benchmark import require_writable_file
from densebench.cost.count import build_for_counting
from densebench.engine.runner import SafeRunner, require_resumable
from densebench.errors import DensebenchError
from densebench.recipe import CONFIG_FOLDER, RunOptions, require_writable, resolve

SEGMENTOR, DETECTOR = "upernet_convnext_t_ade20k", "mask_rcnn_convnext_t_coco"


def write_config(folder: Path, text: str, base: str = SEGMENTOR) -> str:
    file = folder / "config.py"
    file.write_text(f"_base_ = ['{CONFIG_FOLDER}/{base}.py']\n{text}\n")
    return str(file)


@pytest.mark.parametrize("meta", ["text", ["list"], 3, {"densebench": "text"}, {"densebench": [1]}])
def test_a_meta_that_is_no_dictionary(meta: object) -> None:
    with pytest.raises(DensebenchError, match=r"run\.pth: its entry `meta.*a dictionary was expected"):
        training_facts({"meta": meta, "state_dict": {}}, "run.pth")


@pytest.mark.parametrize("content", [{}, {"meta": None}, {"meta": {}}, {"meta": {"densebench": None}}])
def test_a_checkpoint_that_says_nothing_of_its_run(content: dict[str, object]) -> None:
    assert training_facts(content, "run.pth") == {"seed": None}


def test_what_a_checkpoint_says_of_its_run() -> None:
    meta = {"seed": 3, "densebench": {"experiment": "e"}}
    assert training_facts({"meta": meta}, "run.pth") == {"experiment": "e", "seed": 3}


@pytest.mark.parametrize("content", [{}, {"meta": None}, {"meta": {"iter": "3", "epoch": 0}}])
def test_a_file_of_weights_is_not_resumed_from(content: dict[str, object]) -> None:
    with pytest.raises(DensebenchError, match=r"cannot be resumed from: it lacks .*meta\.iter.*message_hub"):
        require_resumable(content, "weights.pth")


@pytest.mark.parametrize("names", [[0, 1], ["weight", 1], [("a", "b")]])
def test_tensors_whose_names_are_no_texts(names: list[object]) -> None:
    with pytest.raises(DensebenchError, match="are to be named by texts"):
        state_dict_of({"state_dict": {name: torch.zeros(1) for name in names}})


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_torch_did_not_write(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "old.pth"
    file.write_bytes(pickle.dumps({"state_dict": {"weight": [1.0, 2.0]}, "names": {"a"}}, protocol=protocol))
    with pytest.raises(DensebenchError) as error:
        read_checkpoint(file)
    if "pickled objects other than tensors" not in str(error.value):
        assert "is a legacy pickle" in str(error.value)
    assert "safetensors" in str(error.value)
    assert "weights_only" not in str(error.value) and "truncated" not in str(error.value)


def test_torchs_own_files_of_before_the_zip_are_read(tmp_path: Path) -> None:
    file = tmp_path / "old.pth"
    torch.save({"weight": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    assert read_checkpoint(file)["weight"].tolist() == [1.0, 1.0]
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DensebenchError, match="may be truncated"):
        read_checkpoint(file)


def test_torchs_unsafe_advice_is_not_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "script.pth"
    torch.jit.script(torch.nn.ReLU()).save(str(file))
    with pytest.raises(DensebenchError) as error:
        read_checkpoint(file)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("share, text", [(100.0, "100.0 %"), (99.9999, "99.9 %"), (89.96, "89.9 %"), (0.0, "0.0 %")])
def test_only_a_whole_is_called_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_refusal_does_not_contradict_itself() -> None:
    own = {"a": torch.zeros(100_000), "b": torch.zeros(1)}
    report = compare(own, {"a": own["a"]})
    with pytest.raises(DensebenchError, match=r"fills 99\.9 % of the model; at least 100 % was expected"):
        require_match(report, "file", "the model", min_percent=100.0, allow_partial=False)
    assert "(99.99 % of the elements)" in report.summary()


@pytest.mark.parametrize("option", ["--work-dir", "--out", "--show-dir"])
def test_folders_that_cannot_be_made(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DensebenchError, match=f"cannot be made .*name another with {option}"):
        require_writable(tmp_path / "file" / "folder", option)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1 / 0", r"cannot be read as a config: division by zero \(ZeroDivisionError\)"),
        ("import math\nx = math.tow", r"no attribute 'tow'"),
        ("raise RuntimeError('own words')", "own words"),
        ("model = dict(backbone=dict(_delete_=True, drop_path_rate=0.1))", "names no backbone"),
        ("model = dict(backbone=None)", "names no backbone"),
        ("model = dict(decode_head=dict(_delete_=True))", "lacks what upernet needs: .*in_index"),
        ("model = dict(_delete_=True, backbone=dict(type='convnext_t'))", "lacks what upernet needs: decode_head"),
        ("schedule = dict(iteration=5)", r"schedule has no part 'iteration'\. Near matches: iterations"),
        ("schedule = dict(epochs=5)", "either iterations or epochs"),
        ("schedule = dict(poly=dict(_delete_=True, power=1))", r"schedule\.poly lacks min_lr"),
        ("schedule = dict(warmup=None)", r"schedule\.warmup lacks everything"),
        ("test_ss = dict(mode='slid')", r"test_ss\.mode=slid: whole or slide"),
        ("test_ms = dict(mode='slide')", "test_ms lacks crop_size, stride"),
        ("pretrained = 'file.pth'", "pretrained=file.pth: parts were expected"),
    ],
)
def test_configs_that_fail(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DensebenchError, match=message):
        resolve(RunOptions(write_config(tmp_path, text), pretrained="none"), with_data=False)


def test_base_files_that_name_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = ['./b.py']\n")
    (tmp_path / "b.py").write_text("_base_ = ['./a.py']\n")
    with pytest.raises(DensebenchError, match="_base_ files name each other"):
        resolve(RunOptions(str(tmp_path / "a.py")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule.iteration": 5}, r"schedule\.iteration=5.*Near matches: iterations"),
        ({"schedule": 5}, r"schedule=5: it has parts of its own"),
        ({"schedule.warmup": 5}, r"schedule\.warmup=5: it has parts of its own"),
        ({"schedule.warmup.iteration": 5}, r"no part 'iteration'\. Near matches: iterations"),
        ({"schedule.epochs": 5}, "either iterations or epochs"),
        ({"schedule.poly.power": "steep"}, "a number was expected"),
        ({"crop_size": 512}, r"crop_size=512: two numbers above 0 were expected"),
        ({"crop_size": [512, -1]}, "two numbers above 0"),
        ({"test_ss.scal": (5, 5)}, r"no part 'scal'\. Near matches: scale"),
        ({"test_ss.stride": 5}, r"test_ss\.stride=5: two numbers"),
        ({"test_ms.flip": "yes"}, r"test_ms\.flip=yes: True or False"),
        ({"test_ms.ratios": 1.0}, r"test_ms\.ratios=1.0: a list was expected"),
        ({"train_dataloader.num_worker": 0}, "there is no such part, but num_workers"),
        ({"train_dataloader.num_workers": "few"}, "a number was expected"),
        ({"optimizer.type": "SGD"}, r"unknown parts: optimizer\.type\. Near matches: optim_wrapper"),
        ({"optim_wrapper.paramwise_cfg.decay_rat": 0.5}, "there is no such part, but decay_rate"),
        ({"model.decode_head": 5}, r"model\.decode_head=5: it has parts of its own"),
        ({"model.decode_head.channel": 5}, r"model\.decode_head\.channel=5: .*unexpected keyword argument 'channel'"),
        ({"model.decode_head.type": "UperHed"}, r"model\.decode_head\.type=UperHed: .*UperHed is not in"),
        ({"model.decode_head.channels": "many"}, r"model\.decode_head\.channels=many: .*cannot be built"),
        ({"method": "fcos"}, "cannot be overridden; name another config"),
        ({"mini.iterations": 3}, "use --mini-iters"),
    ],
)
def test_overrides_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(DensebenchError, match=message):
        resolve(RunOptions(SEGMENTOR, pretrained="none", cfg_options=options), with_data=False)


@pytest.mark.parametrize(
    "options",
    [
        {"test_ms.mode": "slide", "test_ms.stride": (341, 341), "test_ms.crop_size": (512, 512)},
        {"model.auxiliary_head": None},
        {"schedule.poly.power": 2},
        {"default_hooks.logger.interval": 5},  # of no effect without data
    ],
)
def test_overrides_that_fit(options: dict[str, object]) -> None:
    resolve(RunOptions(SEGMENTOR, pretrained="none", cfg_options=options), with_data=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optim_wrapper.optimizer.type": "AdamX"},
            r"optimizer\.type=AdamX: .*there is no optimizer 'AdamX'; near matches: Adam",
        ),
        ({"optim_wrapper.optimizer.momentum": 0.9}, r"optimizer\.momentum=0\.9: .*'momentum'"),
        ({"default_hooks": 5}, "it has parts of its own"),
        ({"default_hooks.loger.interval": 5}, "there is no such part, but logger"),
    ],
)
def test_overrides_of_a_run_that_do_not_fit(tiny_recipe: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(DensebenchError, match=message):
        resolve(RunOptions(str(tiny_recipe), mini=True, cfg_options=options))


def test_a_typo_in_a_configs_hook_is_told(tiny_recipe: Path, tmp_path: Path) -> None:
    options = {"default_hooks.logger.intervall": 7}
    recipe = resolve(RunOptions(str(tiny_recipe), mini=True, work_dir=str(tmp_path), cfg_options=options))
    with pytest.raises(DensebenchError, match=r"The run cannot be built: .*'intervall'"):
        SafeRunner.from_cfg(recipe.config)


def test_a_typo_in_a_configs_model_is_told(tmp_path: Path) -> None:
    config = write_config(tmp_path, "model = dict(rpn_head=dict(feat_channel=9))", DETECTOR)
    recipe = resolve(RunOptions(config, pretrained="none"), with_data=False)
    with pytest.raises(DensebenchError, match=r"cannot be built: .*'feat_channel'"):
        build_for_counting(recipe.config.model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TimmBackbone("resnet18.nonsense"),
            r"no weights 'nonsense' of the model 'resnet18'; there are: .*a1_in1k",
        ),
        (lambda: backbone_config("TimmBackbone"), r"name one of them: 'timm/resnet18'"),
    ],
)
def test_backbones_that_are_none(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UnknownBackboneError, match=message):
        make()


def test_a_json_file_that_cannot_be_written_is_told_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(DensebenchError, match=r"--json .* cannot be written to .*Permission denied"):
        require_writable_file(tmp_path / "record.json")
    with pytest.raises(DensebenchError, match=r"--json .*: expected a file in an existing folder"):
        require_writable_file(tmp_path / "nowhere" / "record.json")


def test_a_conversion_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(conversion, "save_file", full)
    source = tmp_path / "source.pth"
    torch.save({"weight": torch.zeros(1)}, source)
    with pytest.raises(DensebenchError, match=r"out\.safetensors cannot be written: .*No space left"):
        conversion.convert(source, tmp_path / "out.safetensors")
