"""The web face: `/metrics`, health and a page per environment, read from the tables. Needs the extra ``web``."""
