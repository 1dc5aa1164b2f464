"""Data moves: what is copied, proven, switched and taken back."""
