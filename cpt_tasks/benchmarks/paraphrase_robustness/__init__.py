"""How much do the wording, the place and the style of a request matter?"""
