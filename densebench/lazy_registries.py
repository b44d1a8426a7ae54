"""Registries of mmengine, mmdet and mmseg that import what registers a name when the name is asked for.

With `densebench.lazy_packages`, importing a toolbox registers nothing. A registry that is asked for a name imports the
modules of its toolbox that register something under it, found in their text, before it answers. For a name that is
found nowhere it imports the toolboxes in full. Its `module_dict` and length are those of what is imported so far, which
is enough to tell what an object is an instance of; whoever wants all names calls `import_all()` first.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mmengine.registry
from mmengine.registry import Registry

from densebench import lazy_packages

TOOLBOXES = ("mmdet", "mmseg")
REGISTERING = ("datasets", "engine", "evaluation", "models", "structures", "visualization")

# `@MODELS.register_module(arguments)`, further decorators, and the class or function that follows.
REGISTRATION = re.compile(r"register_module\(([^)]*)\)(?:\s*@[^\n]*)*\s*(?:(?:class|def)\s+(\w+))?")
NAME = re.compile(r"\w+")


class OnDemandRegistry(Registry):
    """mmengine's registry, but for when modules are imported."""

    def get(self, key: str) -> Any:
        """As mmengine's; first imports what registers `key` here, and all where nothing is found."""
        scope, name = self.split_scope_key(key)
        if self._scope in TOOLBOXES and scope in (None, self._scope):
            _import_naming(self._scope, name)
        found = super().get(key)
        if found is None:
            for toolbox in TOOLBOXES:
                _import_naming(toolbox, name)
            found = super().get(key)
        if found is None:
            import_all()
            found = super().get(key)
        return found


def install() -> None:
    """Let the registries of mmengine, mmdet and mmseg import on demand; a second call does nothing."""
    lazy_packages.install()
    for toolbox in TOOLBOXES:
        _ = importlib.import_module(f"{toolbox}.registry").MODELS  # all of them are made in one module
    for root in [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]:
        for registry in (root, *(root.children[toolbox] for toolbox in TOOLBOXES if toolbox in root.children)):
            if type(registry) is Registry:
                registry.__class__ = OnDemandRegistry


def import_all() -> None:
    """Import of each toolbox that is in use all that registers."""
    for toolbox in TOOLBOXES:
        for part in REGISTERING:
            importlib.import_module(f"{toolbox}.{part}")
    lazy_packages.load_all("mmengine", *TOOLBOXES)


def _import_naming(toolbox: str, name: str) -> None:
    for module in _registrations(toolbox).get(name, ()):
        importlib.import_module(module)


@cache
def _registrations(toolbox: str) -> dict[str, list[str]]:
    """Each word of a toolbox's registrations, and the modules that may register something under it."""
    found: dict[str, list[str]] = {}
    for module, text in _modules(toolbox):
        for arguments, target in REGISTRATION.findall(text):
            for word in {target, *NAME.findall(arguments)} - {""}:
                found.setdefault(word, []).append(module)
    return found


def _modules(toolbox: str) -> Iterator[tuple[str, str]]:
    spec = importlib.util.find_spec(toolbox)
    assert spec is not None and spec.origin is not None
    root = Path(spec.origin).parent
    for part in REGISTERING:
        for path in sorted((root / part).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "register_module" in text:
                yield ".".join((toolbox, *path.relative_to(root).with_suffix("").parts)), text
