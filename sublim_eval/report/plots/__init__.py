"""Pictures: one file each, in the colours and type of style.py."""
