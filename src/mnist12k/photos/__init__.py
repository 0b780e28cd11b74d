"""Pictures of digits: how they are prepared, in words, for every document that says so."""

PREPARATION = (
    "The ink is found on its background, dark or light. Its bounding box is scaled into 20x20 "
    "pixels, its aspect ratio kept, and put into 28x28 so that its centre of mass is at row 14, "
    "column 14, counted from 0, as in MNIST's images."
)
