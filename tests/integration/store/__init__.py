"""What happens to the state in Redis: losses, failovers, other settings."""
