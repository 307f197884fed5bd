"""Networks and how they learn; beside `inference.py` the only part of the package that imports torch."""

import os

# OpenMP's threads spin while they wait for each other. On a machine with other work to do, that made the same training
# take 130 s instead of 10 s (2 cores, 4 busy processes). It is read when torch is loaded, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
