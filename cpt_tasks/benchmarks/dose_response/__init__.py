"""Does the score follow a numeric target that no model was trained on?"""
