"""Networks that compute the same with their units in another order, and which order is nearest to another network."""
