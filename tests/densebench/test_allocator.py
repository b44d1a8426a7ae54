"""Memory that a run on the CPU frees stays with it, unless its user has chosen otherwise."""

import os
import platform
import subprocess
import sys

import pytest

# Resident memory after 2.5 GiB were written and freed, above that before, in MiB.
CODE = """
import os, sys
import numpy
from densebench.allocator import keep_freed_memory, release_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
kept = keep_freed_memory() if sys.argv[1:] else False
before = resident()
array = numpy.ones(5 * 2**26)
del array
after = resident()
release_freed_memory()
print(kept, after - before, resident() - before)
"""


def kept_mib(*arguments: str, **environment: str) -> tuple[str, float, float]:
    names = [name for name in os.environ if not name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))]
    settings = {**{name: os.environ[name] for name in names}, "CUDA_VISIBLE_DEVICES": "", **environment}
    command = [sys.executable, "-c", CODE, *arguments]
    result = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    kept, mib, released = result.stdout.split()
    return kept, float(mib), float(released)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_what_is_freed_is_kept() -> None:
    assert kept_mib()[1] < 64
    kept, mib, released = kept_mib("keep")
    assert kept == "True" and 2500 < mib < 2700 and released < 200


def test_a_users_choice_stays() -> None:
    kept, mib, _ = kept_mib("keep", MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False" and mib < 64
