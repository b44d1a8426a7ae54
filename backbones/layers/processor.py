"""What the processor can do, as far as it decides which of several equal computations is the fastest."""

from __future__ import annotations

import torch

# False on x86 processors with AVX2 alone (Zen 1 to 3, most laptops) and on others.
HAS_AVX512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
