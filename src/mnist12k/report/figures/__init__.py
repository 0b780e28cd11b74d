"""Figures drawn with matplotlib, and the layer table."""
