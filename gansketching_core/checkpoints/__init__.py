"""Model files: read in every supported format, written in our own, described. No code in a file is ever run."""
