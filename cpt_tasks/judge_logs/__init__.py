"""The commands of `cpt judge`: how far a judge can be trusted, what it says of texts, and what it costs."""
