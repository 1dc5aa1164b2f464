"""Data moves: from one place to another while it is being written to, nothing lost, and a way back."""
