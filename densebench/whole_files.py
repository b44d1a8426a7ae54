"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"  # of names that a killed process may leave


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yields a hidden name beside `target` to write to; it becomes `target` unless the writing fails.

    A process that is killed leaves the earlier file, if any, as it was. Raises what the writing or renaming raises.
    """
    temporary = target.with_name(f".{secrets.token_hex(4)}-{os.getpid()}{SUFFIX}")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
