"""From a network and a batch to the features of every layer."""
