"""Read runs, evaluations and the published numbers from disk."""
