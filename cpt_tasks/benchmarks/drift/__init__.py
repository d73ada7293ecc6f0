"""How does a model write without a system prompt, and did training move that?"""
