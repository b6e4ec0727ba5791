"""Where to go in weight space, and the loss there."""
