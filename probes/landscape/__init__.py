"""The surface of the loss over a network's weights: paths, planes and distances between solutions."""
