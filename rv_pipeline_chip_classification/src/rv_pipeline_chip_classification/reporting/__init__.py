"""What a report shows of a chip classification: figures, curves, maps and the worst errors, from files under the root."""
