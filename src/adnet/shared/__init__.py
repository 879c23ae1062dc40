"""What the entry points and all floors share: the command line, checks of values, files, the machine."""
