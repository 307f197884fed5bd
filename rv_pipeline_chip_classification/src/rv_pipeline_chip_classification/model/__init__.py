"""Networks and how they learn; the only part of the package that imports torch."""
