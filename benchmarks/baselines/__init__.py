"""What the figures are compared with: each file a program of its own that does the least that could be called it."""
