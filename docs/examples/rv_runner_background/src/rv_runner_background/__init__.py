"""The runner `background` for rv: shell jobs in the background, and what can be seen of them."""
