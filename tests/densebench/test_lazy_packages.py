"""Packages and registries on demand give what eager ones give. Each side has a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

LAZY = "from densebench import lazy_packages; lazy_packages.install()\n"
OPERATORS = "from densebench import mmcv_ops; mmcv_ops.install()\n"
REGISTRIES = "from densebench import lazy_registries; lazy_registries.install()\n"

# Of each public name in the toolboxes' packages: the module and the name of what it stands for.
NAMES = """
import importlib, json, pkgutil, sys, types
from mmengine.registry import Registry
for part in ("datasets", "engine", "evaluation", "models", "structures", "utils", "visualization"):
    for toolbox in ("mmdet", "mmseg"):
        importlib.import_module(f"{toolbox}.{part}")
for package in ("timm", "timm.layers", "timm.data", "torch.distributed.optim", "torchvision", "mmengine.model"):
    importlib.import_module(package)
packages = sorted(
    name for name, module in sys.modules.items()
    if hasattr(module, "__path__") and (name.split(".")[0] in ("mmdet", "mmseg") or name in
    ("timm", "timm.layers", "timm.data", "torch.distributed.optim", "torchvision", "mmengine.model",
     "mmengine.model.wrappers"))
)
def told(value):
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, Registry):
        return [value.scope, value.name]
    return [getattr(value, "__module__", None), getattr(value, "__qualname__", None) or type(value).__name__]
given = json.load(sys.stdin)
found = {}
for name in packages if given is None else given:
    module = importlib.import_module(name)
    names = [n for n in dir(module) if not n.startswith("_")] if given is None else given[name]
    found[name] = {n: told(getattr(module, n)) for n in names}
print(json.dumps(found), file=sys.__stdout__)
"""

REGISTERED = """
import importlib, json, sys
import mmengine.registry
from mmengine.registry import Registry
for toolbox in ("mmdet", "mmseg"):
    importlib.import_module(f"{toolbox}.utils").register_all_modules(False)
given = json.load(sys.stdin)
found = {}
for root_name, root in vars(mmengine.registry).items():
    if not isinstance(root, Registry):
        continue
    for scope, registry in root.children.items():
        key = f"{root_name} {scope}"
        names = list(registry.module_dict) if given is None else given[key]
        found[key] = {n: [registry.get(n).__module__, registry.get(n).__qualname__] for n in names}
print(json.dumps(found), file=sys.__stdout__)
"""


def python(code: str, given: Any = None) -> Any:
    result = subprocess.run([sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_name_stands_for_the_same_object() -> None:
    eager = python(OPERATORS + NAMES)
    names = {package: list(found) for package, found in eager.items()}
    lazy = python(LAZY + OPERATORS + REGISTRIES + NAMES, names)
    assert lazy == eager


@pytest.mark.slow
def test_registries_find_on_demand_what_they_hold_eagerly() -> None:
    eager = python(OPERATORS + REGISTERED)
    lazy = python(LAZY + OPERATORS + REGISTRIES + REGISTERED, {key: list(found) for key, found in eager.items()})
    assert lazy == eager


def test_importing_a_package_imports_what_is_asked_for() -> None:
    code = """
import json, pickle, sys
import mmdet.models, mmseg.models
parts = lambda: sorted(name for name in sys.modules if name.split(".")[0] in ("mmdet", "mmseg") and "head" in name)
found = [parts()]
from mmdet.models.dense_heads import FCOSHead
assert pickle.loads(pickle.dumps(FCOSHead)) is FCOSHead is mmdet.models.FCOSHead
found.append("mmdet.models.dense_heads.fcos_head" in parts())
found.append([name for name in ("scipy", "matplotlib", "torchvision.ops", "torch._dynamo") if name in sys.modules])
print(json.dumps(found))
"""
    assert python(LAZY + OPERATORS + REGISTRIES + code) == [[], True, []]


def test_unknown_names_fail_as_before() -> None:
    code = """
import json
import torchvision
from mmengine.registry import MODELS
found = []
try:
    torchvision.nothing
except AttributeError as error:
    found.append(str(error))
try:
    from torchvision import nothing
except ImportError as error:
    found.append(str(error).partition(" (")[0])
found.append(MODELS.get("NothingOfThatName"))
print(json.dumps(found))
"""
    assert python(LAZY + OPERATORS + REGISTRIES + code) == [
        "module 'torchvision' has no attribute 'nothing'",
        "cannot import name 'nothing' from 'torchvision'",
        None,
    ]


def test_a_name_that_is_also_its_modules() -> None:
    code = """
import json
from mmdet.models.losses.accuracy import Accuracy
from mmdet.models.losses import accuracy
import mmdet.models.losses
print(json.dumps([type(accuracy).__name__, type(mmdet.models.losses.accuracy).__name__]))
"""
    assert python(LAZY + OPERATORS + REGISTRIES + code) == ["function", "function"]


@pytest.mark.parametrize("module", ["densebench.registration", "densebench.registration_detection"])
def test_a_registration_that_comes_first_installs_the_operators_first(module: str) -> None:
    code = f"""
import json
import {module}
from mmdet.models.dense_heads import rpn_head
import mmcv.ops
print(json.dumps(rpn_head.batched_nms is mmcv.ops.batched_nms))
"""
    assert python(code)
