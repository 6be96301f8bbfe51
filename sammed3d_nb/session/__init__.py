"""What has been said about a volume: objects, steps, history, and the record on disk."""
