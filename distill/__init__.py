"""Making students: teacher, rows, filter, training. torch lives here."""
