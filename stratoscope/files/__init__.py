"""How files are written and read: whole or growing, and never half. Imports nothing of ours, and no torch."""
