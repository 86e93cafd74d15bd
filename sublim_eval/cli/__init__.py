"""The command line: main.py lists the verbs, a file a group of them; what they have in common is in verb.py."""
