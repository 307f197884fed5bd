"""What is advised where another run has the root can be typed as it is, whatever the root is called."""

from __future__ import annotations

import re
import shlex

from rv_core.record.marker import already_running, this_process_marker


def test_advice_quotes_the_root() -> None:
    root = "/data/my runs/it's"
    said = str(already_running(root, this_process_marker("r1", "local", detached=False)))
    typed = [shlex.split(words) for words in re.findall(r"`(rv [^`]*)`", said)]
    assert typed == [["rv", "status", root, "--watch"], ["rv", "cancel", root]]
