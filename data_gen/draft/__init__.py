"""A model drafts rubrics and writes their system prompts; both are checked before they are accepted."""
