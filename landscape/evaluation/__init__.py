"""A network on data under a loss: called, scored, made quick, and given back as it was."""
