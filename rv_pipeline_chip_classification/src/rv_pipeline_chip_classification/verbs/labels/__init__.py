"""`rv labels`: what the cells of a config are labelled with, and why."""
