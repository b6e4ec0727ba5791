"""What files and figures call things that several of them speak of."""

__all__ = ["NORMALIZATIONS"]

# How directions are scaled, as it stands in a results file and on a figure's axes.
NORMALIZATIONS = {
    "filter": "filter-normalised",
    "layer": "layer-normalised",
    "weight": "weight-normalised",
    "none": "not normalised",
}
