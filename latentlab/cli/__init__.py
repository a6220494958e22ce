"""The command line: one file a command; the only room that exits, prints or draws progress."""
