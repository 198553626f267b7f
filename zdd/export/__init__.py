"""Engines, one a file: what a trained model is exported to, and read back from disk."""
