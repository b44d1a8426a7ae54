"""Where a recipe's starting weights come from: a URL with its hash, a file, timm, or nowhere."""

from __future__ import annotations

import hashlib
import urllib.error
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import torch

from densebench.errors import DensebenchError

SIZES = ("t", "s", "b", "l", "xl")
TIMM_SIZES = ("tiny", "small", "base", "large", "xlarge")
V2_SIZES = ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")

WAYS_OUT = (
    "Ways out: --pretrained FILE with weights that you have, --pretrained none to start from random weights, or "
    "--mini to try the command without any"
)


# The timm models whose weights are those of our backbones; timm's default tag decides on the training.
TIMM_TWINS = {
    **{f"convnext_{ours}": f"convnext_{theirs}" for ours, theirs in zip(SIZES, TIMM_SIZES, strict=True)},
    **{f"convnextv2_{size}": f"convnextv2_{size}" for size in V2_SIZES},
    **{
        f"swin_{ours}": f"swin_{theirs}_patch4_window7_224"
        for ours, theirs in zip(SIZES[:4], TIMM_SIZES[:4], strict=True)
    },
    **{name: name for name in ("resnet50", "resnet101", "resnet152", "resnext101_32x4d", "resnext101_64x4d")},
    "mobilenetv2_k3": "mobilenetv2_100",
}


@dataclass(frozen=True)
class StartingWeights:
    """The weights that a training starts from.

    `name` is what the record says: the pretraining (`in1k`), `file:NAME`, `timm:TAG`, or `none`.
    `sha256` may be the leading digits alone, where no more is published, or None, where no hash is.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    file: Path | None = None
    timm_model: str | None = None

    def local_file(self) -> Path | None:
        """The weights as a file on this machine, fetched first where they are known by URL; None for none.

        Raises:
            DensebenchError: they cannot be had, or their hash is another.
        """
        if self.file is not None:
            if not self.file.is_file():
                raise DensebenchError(f"--pretrained {self.file}: no such file. {WAYS_OUT}.")
            return self.file
        return fetch(self.url, self.sha256) if self.url is not None else None


def fetch(url: str, sha256: str | None) -> Path:
    """Download `url` once into torch's cache and return the file; `file://` works too.

    Raises:
        DensebenchError: the URL cannot be reached or leads to a web page, or the content has another hash.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    # The hash (else that of the URL) is part of the name, so that a file of the same name from elsewhere is not taken
    # for this one.
    path = Path(urlparse(url).path)
    target = folder / f"{path.stem}-{(sha256 or hashlib.sha256(url.encode()).hexdigest())[:16]}{path.suffix}"
    if not target.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(target), hash_prefix=sha256)
        except RuntimeError as error:
            raise DensebenchError(
                f"The starting weights at {url} have another hash than the recipe expects (sha256 {sha256}...): "
                f"{error}. The file at that address has changed or was damaged on the way. {WAYS_OUT}."
            ) from error
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DensebenchError(
                f"The recipe's starting weights cannot be had from {url} ({error}). {WAYS_OUT}."
            ) from error
        _require_weights(target, url)
    elif sha256 and not file_sha256(target).startswith(sha256):
        raise DensebenchError(
            f"{target} does not have the hash of {url} (sha256 {sha256}...). Delete it to fetch it again. {WAYS_OUT}."
        )
    return target


def _require_weights(file: Path, url: str) -> None:
    # Hosts of files ask back with a page; without a hash it would be kept for weights.
    with file.open("rb") as stream:
        is_page = stream.read(64).lstrip().startswith(b"<")
    if is_page:
        file.unlink()
        raise DensebenchError(
            f"{url} leads to a web page, where weights were expected. Open it in a browser and save the weights, then "
            f"name the file. {WAYS_OUT}."
        )


def file_sha256(path: str | Path) -> str:
    """The hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
