"""What passes from block to block: gradients, features, and what each block adds."""
