"""An experiment-tracked pipeline around one small network."""
