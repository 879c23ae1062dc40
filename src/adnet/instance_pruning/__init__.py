"""Instance pruning (Section 4): detections, their tracks, and the rule that drops static ones."""
