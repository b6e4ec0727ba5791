"""Figures and pages of lesions, paths and flows."""
