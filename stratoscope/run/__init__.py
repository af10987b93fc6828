"""What a run keeps while it goes: its directory, checkpoints, processes and signals."""
