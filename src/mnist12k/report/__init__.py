"""Figures, the text of the backprop study, and the report page."""
