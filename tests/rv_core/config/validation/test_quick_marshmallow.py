"""What importing marshmallow quickly leaves behind, in a process that has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys

_LEFT = """
import sys
import rv_core.config.validation.schemas
import re
kept = sorted(name for name, module in sys.modules.items() if type(vars(module).get("re")).__name__ == "_Re")
patterns = {
    module.__name__
    for module in list(sys.modules.values())
    for value in list(vars(module).values())
    if type(value).__module__.startswith("rv_core.") and type(value).__name__ == "_Pattern"
}
print(kept, sorted(patterns))
import marshmallow
from json.decoder import WHITESPACE
print(re.sub(WHITESPACE, "", "  a", count=1))
print(isinstance(marshmallow.validate.Regexp("a+").regex, re.Pattern))
print(marshmallow.validate.Email()("ada@example.org"), type(marshmallow.validate.Email.USER_REGEX).__name__)
"""


def test_other_modules_have_the_patterns_that_they_are_used_to() -> None:
    done = subprocess.run([sys.executable, "-c", _LEFT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] []", "a", "True", "ada@example.org _Pattern"]
