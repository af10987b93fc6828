"""What instruments' tables look like."""
