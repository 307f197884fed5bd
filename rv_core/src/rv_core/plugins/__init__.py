"""Who offers what: hook specs, declarations, and the plugins that are installed, each behind an error boundary.

What a plugin offers is a name and a target; nothing of it is imported before it is chosen.
"""
