"""Pages of one file, to be opened or mailed: nothing on them is fetched from anywhere."""
