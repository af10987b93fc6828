"""Which samples instruments read, and the features of every layer on them."""
