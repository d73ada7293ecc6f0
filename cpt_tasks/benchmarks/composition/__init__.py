"""Two rubrics in one system prompt: is each still met?"""
