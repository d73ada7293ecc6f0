"""How far do attacks in a text shift the judge?"""
