"""The paths through a residual network, and what they carry."""
