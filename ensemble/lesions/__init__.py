"""Networks whose blocks are deleted, moved or changed, and what is left of them."""
