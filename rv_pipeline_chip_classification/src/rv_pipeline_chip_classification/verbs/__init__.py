"""The verbs that this plugin adds to `rv`."""
