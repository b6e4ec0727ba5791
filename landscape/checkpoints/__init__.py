"""Weights in files, ours and those of others, read without running anything."""
