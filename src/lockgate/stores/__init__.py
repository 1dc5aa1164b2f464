"""The places where rows live, one file each, behind one face (``store.Store``). One conformance suite runs on each."""
