"""Make tables, figures and an HTML page from finished runs on disk. Imports neither models nor training code."""
