"""The machine: files that are complete or absent, memory, threads and other processes."""
