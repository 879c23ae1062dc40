"""What the entry points and all other folders share: the command line, checks of values, files, the machine."""
