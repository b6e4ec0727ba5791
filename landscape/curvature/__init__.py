"""The Hessian of a network, and how sharp its minimum is."""
