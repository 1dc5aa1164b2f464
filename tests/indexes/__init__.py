"""Vector and search indexes, and the gold sets that judge them."""
