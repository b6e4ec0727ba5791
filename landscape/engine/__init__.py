"""A function of rows fills a table, in memory or in a file, on any number of ranks. No torch."""
