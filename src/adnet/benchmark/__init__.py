"""Measure speed, compared with the published implementations in the same run."""
