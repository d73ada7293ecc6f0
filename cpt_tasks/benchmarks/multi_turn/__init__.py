"""Does a system prompt hold over the turns of a conversation, and can it be changed in the middle?"""
