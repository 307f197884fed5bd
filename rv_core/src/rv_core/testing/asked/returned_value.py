"""Runs a probe as `rv run` does and prints what `Runner.run` returned: `python -m rv_core.testing.asked.returned_value …`."""

from __future__ import annotations

import sys
from typing import Any


def main(argv: list[str]) -> int:
    """Run a probe.

    Args:
        argv: runner, module, profile, probe, root.

    Returns:
        The exit code of the run.
    """
    from rv_core.cli.app import main as run_app
    from rv_core.plugins.installed import plugin_manager
    from rv_core.plugins.targets import resolve

    runner, module, profile, probe, root = argv
    cls: Any = resolve(plugin_manager().runner_spec(runner).target, declared_by=runner)
    returned: list[object] = []
    run = cls.run

    def recorded(self: Any, plan: Any, context: Any) -> Any:
        value = run(self, plan, context)
        returned.append(value)
        return value

    cls.run = recorded
    words = ["--profile", profile, "run", runner, module, "-a", f"probe={probe}", "-a", f"root_uri={root}"]
    code = run_app(words)
    print(f"Runner.run returned {returned[0]!r}" if returned else "Runner.run did not return")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
