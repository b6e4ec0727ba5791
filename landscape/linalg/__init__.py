"""Symmetric operators, known by their products alone. No torch."""
