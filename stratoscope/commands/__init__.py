"""The commands of `stratoscope`: each is one row of a table, and a module."""
