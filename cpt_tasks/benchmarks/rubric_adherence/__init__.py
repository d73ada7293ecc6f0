"""Does the score follow the level that the system prompt asks for?"""
