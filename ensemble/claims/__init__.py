"""Claims of papers, tried by one call: what is said, where, by which measurement, and what would refute it."""
