"""Instance pruning (Section 4): detect objects, link them into tracks, and remove small or short-lived ones from masks."""
