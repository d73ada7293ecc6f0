"""What is kept of the responses and what is dropped, and why. Command: `cpt verify`."""
