"""The rules that a runner is held to, by topic."""
