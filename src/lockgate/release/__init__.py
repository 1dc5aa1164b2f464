"""Who may apply, and the deploy pipeline."""
