"""What only shows after a long time: threads that disturb each other, and memory that leaks."""
