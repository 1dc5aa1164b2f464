"""Vector and search indexes: what one is, when two are the same, how one replaces the other, and whether answers got worse."""
