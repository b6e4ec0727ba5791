"""Loss surfaces of plain and residual networks, and the engine that measures them."""

__version__ = "0.1.0"
