"""Leaves that are ranges of an integer key. Pure."""

LEAST, GREATEST = -(1 << 63), (1 << 63) - 1


def runs(bits: int, leaves: tuple[int, ...]) -> list[tuple[int, int]]:
    """The ranges of keys (both ends inclusive) that the sorted ``leaves`` of ``bits`` hold, neighbours joined."""
    found: list[list[int]] = []
    for leaf in leaves:
        if found and found[-1][1] == leaf - 1:
            found[-1][1] = leaf
        else:
            found.append([leaf, leaf])
    return [(max(first << bits, LEAST), min(((last + 1) << bits) - 1, GREATEST)) for first, last in found]


def shift_for(low: int, high: int, leaves: int) -> int:
    """The smallest shift that spreads the keys from ``low`` to ``high`` over at most ``leaves`` leaves; at least two, as no shift joins -1 and 0."""
    most = max(leaves, 2)
    shift = max(0, (high - low).bit_length() - most.bit_length())
    while (high >> shift) - (low >> shift) >= most:
        shift += 1
    return shift
