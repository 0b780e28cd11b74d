"""An experiment-tracked pipeline around one 12,442-parameter network."""
