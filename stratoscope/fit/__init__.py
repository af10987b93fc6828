"""One run: its command line, what is refused before it, and how it is started."""
