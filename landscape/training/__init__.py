"""Networks trained into checkpoints that describe themselves."""
