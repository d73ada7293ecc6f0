"""Twins out of verified or human-rated responses, their files and dataset card. Command: `cpt twins`."""
