"""What a run will make and cost, before it starts: rows, tokens, memory, hours, disk, money."""
