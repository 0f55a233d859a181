"""What people decided, and the files that carry it."""
