"""Controls: they change training on purpose."""
