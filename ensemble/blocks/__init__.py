"""The residual blocks of a network, ours or others'."""
