"""Who offers what: hook specs, declarations, and the plugins that are installed, each behind an error boundary."""
