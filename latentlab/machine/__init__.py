"""What the machine offers: files that are whole or absent, memory, threads, other processes."""
