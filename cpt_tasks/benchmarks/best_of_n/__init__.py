"""What are n samples worth? The best of k responses, by level."""
