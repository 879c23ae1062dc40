"""The exception for users' mistakes, and what they may have meant."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class UserError(Exception):
    """A user's mistake, in one line: what is wrong, where, and what to do. Entry points print it and exit with 1."""


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Say which of the `known` keys or names is meant by `word`, or list them all if none is near."""
    known = sorted(known)
    near = get_close_matches(word, known) or get_close_matches(word := word.lower(), known)
    ratios = [SequenceMatcher(None, name, word).ratio() for name in near]
    nearest_ones = [f"{prefix}{name}" for name, ratio in zip(near, ratios, strict=True) if ratio == ratios[0]]
    said = f"did you mean {' or '.join(sorted(nearest_ones))}?" if near else f"known are: {', '.join(known) or 'none'}"
    return f"; {said}"
