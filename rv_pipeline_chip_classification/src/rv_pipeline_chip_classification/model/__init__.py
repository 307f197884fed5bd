"""A network and what is known of it: backbones, weights, the contract of a trained model, bundles."""
