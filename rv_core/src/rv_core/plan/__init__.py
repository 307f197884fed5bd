"""What is to be done, and why: keys, manifests, selections, and the graph of jobs made of them."""
