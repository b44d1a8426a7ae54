"""Packages that import their parts when these are asked for, so that a run imports what it uses.

`import mmdet.models` imports five hundred modules, and with them scipy, imgaug and matplotlib, because the package's
`__init__` does. After `install()` the packages named below execute their `__init__` without its imports of parts: a
name that such an import would bind is resolved when it is first read (PEP 562), by importing the one module that it
comes from. A name that none of them binds, and a `*` without a list of names, make the package import all of its parts,
as it does without us. Packages that are imported already stay as they are.

mmdet and mmseg register their classes when a module is imported; `densebench.lazy_registries` belongs to them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

# All packages in them, but for what registers its parts in a table of its own (the types of boxes).
TREES = ("mmdet", "mmseg")
EAGER = ("mmdet.structures.bbox",)
# These packages alone. torch's distributed optimizers, which mmengine imports, bring FSDP and sympy; torchvision's
# operators in Python bring torch._dynamo, its kernels do not need it.
PACKAGES = ("timm", "timm.data", "timm.layers", "torch.distributed.optim", "torchvision")
# These as well, with what they import under a condition or in a `try`: wrappers and strategies for FSDP.
NESTED = ("mmengine._strategy", "mmengine.model", "mmengine.model.wrappers")


def install() -> None:
    """Let the packages above import their parts on demand; a second call does nothing."""
    if not any(isinstance(finder, LazyFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, LazyFinder())


def load_all(*trees: str) -> None:
    """Import all that the packages in these trees, as far as they are imported, would have imported without us."""
    while pending := [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, LazyPackage) and name.split(".")[0] in trees and _parts(module).pending
    ]:
        for module in pending:
            module._load_all()


@dataclass
class Parts:
    """What a package's `__init__` imports of the package itself, and has not imported yet."""

    pending: list[ast.ImportFrom] = field(default_factory=list)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> module that has it, its name there
    stars: list[str] = field(default_factory=list)  # packages of which all names are bound, in order

    def add(self, node: ast.ImportFrom, source: str) -> None:
        """Leave the import of one name, or of `*`, for later."""
        self.pending.append(node)
        (alias,) = node.names
        if alias.name == "*":
            self.stars.append(source)
        else:
            self.names[alias.asname or alias.name] = (source, alias.name)


class LazyPackage(ModuleType):
    """A package whose parts are imported when a name of theirs is read."""

    def __getattr__(self, name: str) -> Any:
        source = self._source_of(name)
        if source is not None:
            value = _import_from(self.__name__, *source)
        elif name.startswith("__") and name != "__all__":  # Python's protocols ask for __wrapped__ and the like
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        elif importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            value = importlib.import_module(f"{self.__name__}.{name}")
        else:
            self._load_all()
            if name == "__all__":  # for `import *`, which takes it for the list of names
                return [public for public in vars(self) if not public.startswith("_")]
            if name not in vars(self):
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            return vars(self)[name]
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # The import of a part binds the part to its name. Where the package gives that name to something in the part
        # (`from .accuracy import accuracy`), its own import would do so afterwards.
        source = _parts(self).names.get(name)
        if source is not None and isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}":
            if source[0] == value.__name__ and hasattr(value, source[1]):
                value = getattr(value, source[1])
            elif source != (self.__name__, name):
                return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._names()})

    def _names(self) -> Iterator[str]:
        """The names that `import *` binds, as far as no part must be imported to know them."""
        if "__all__" in vars(self):
            yield from vars(self)["__all__"]
            return
        parts = _parts(self)
        for name in (*vars(self), *parts.names):
            if not name.startswith("_"):
                yield name
        for star in parts.stars:
            yield from importlib.import_module(star)._names()

    def _source_of(self, name: str) -> tuple[str, str] | None:
        parts = _parts(self)
        if name in parts.names:
            return parts.names[name]
        for star in reversed(parts.stars):
            if name in importlib.import_module(star)._names():
                return star, name
        return None

    def _load_all(self) -> None:
        """Import what is pending, in the order in which it is written."""
        parts = _parts(self)
        pending, parts.pending = parts.pending, []
        if not pending:
            return
        code = compile(ast.Module(body=list(pending), type_ignores=[]), self.__file__ or "", "exec")
        exec(code, vars(self))
        parts.names, parts.stars = {}, []


class LazyFinder(MetaPathFinder):
    """Finds the packages above as Python does, and gives them a loader that leaves their parts."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """None for all other modules."""
        if not _is_lazy(fullname):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.submodule_search_locations and type(spec.loader) is SourceFileLoader:
            spec.loader = LazyLoader(fullname, spec.loader.path)
        return spec


SourceFileLoader = importlib.machinery.SourceFileLoader


class LazyLoader(SourceFileLoader):
    """Executes a package's `__init__` without the imports of its parts that nothing else in it needs."""

    def exec_module(self, module: ModuleType) -> None:
        """Cached bytecode, which has the imports, is neither read nor written."""
        tree = ast.parse(self.get_data(self.path), self.path)
        package = module.__name__
        body = [single for node in tree.body for single in _singles(node)]
        used = {
            name.id
            for node in body
            if not isinstance(node, ast.ImportFrom)
            for name in ast.walk(node)
            if isinstance(name, ast.Name)
        }
        parts = Parts()

        def left_out(statements: list[ast.stmt]) -> list[ast.stmt]:
            kept = []
            for node in statements:
                if isinstance(node, (ast.If, ast.Try)) and package in NESTED:
                    node.body = [single for inner in node.body for single in _singles(inner)]
                    node.body = left_out(node.body) or [ast.copy_location(ast.Pass(), node)]
                if not isinstance(node, ast.ImportFrom) or _must_stay(package, node, used):
                    kept.append(node)
                    continue
                parts.add(node, _absolute(package, node))
            return kept

        kept = left_out(body)
        vars(module)["__parts__"] = parts
        module.__class__ = LazyPackage
        exec(compile(ast.Module(body=kept, type_ignores=[]), self.path, "exec"), vars(module))


def _singles(node: ast.stmt) -> Iterator[ast.stmt]:
    """`from x import a, b` as one statement a name."""
    if not isinstance(node, ast.ImportFrom):
        yield node
        return
    for alias in node.names:
        yield ast.copy_location(ast.ImportFrom(node.module, [alias], node.level), node)


def _is_own(package: str, node: ast.ImportFrom) -> bool:
    return f"{_absolute(package, node)}.".startswith(f"{package}.")


def _is_lazy(name: str) -> bool:
    return name in PACKAGES or name in NESTED or (name.split(".")[0] in TREES and name not in EAGER)


def _must_stay(package: str, node: ast.ImportFrom, used: set[str]) -> bool:
    """Others' modules, what the `__init__` uses itself, private modules (there for their effect), `*` of a module."""
    (alias,) = node.names
    source = _absolute(package, node)
    if not _is_own(package, node) or (alias.asname or alias.name) in used:
        return True
    if alias.name == "*":
        return not _is_lazy_package(source)
    return source == package and alias.name.startswith("_")


def _is_lazy_package(name: str) -> bool:
    spec = importlib.util.find_spec(name) if _is_lazy(name) else None
    return spec is not None and isinstance(spec.loader, LazyLoader)


def _absolute(package: str, node: ast.ImportFrom) -> str:
    """The module that an import in the `__init__` of `package` names."""
    if node.level == 0:
        return node.module or ""
    base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
    return f"{base}.{node.module}" if node.module else base


def _import_from(package: str, module: str, name: str) -> Any:
    """As `from module import name` in the package's `__init__`: an attribute, or a module."""
    if module == package:
        return importlib.import_module(f"{module}.{name}")
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def _parts(module: ModuleType) -> Parts:
    parts: Parts = vars(module)["__parts__"]
    return parts
