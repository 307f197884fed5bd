"""What `bundle` needs: files that are packed, and nothing that computes."""

from __future__ import annotations

import subprocess
import sys


def test_a_bundle_is_packed_without_numpy_and_torch() -> None:
    program = "import sys; import rv_pipeline_chip_classification.commands.bundle; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"numpy", "torch", "safetensors", "rasterio"} & set(done.stdout.split()) == set()
