"""The neighbours: models brought from other tools, and carried to them; a file or folder each.

What is read here comes from anybody: it is limited before it is read, and nothing in it runs.
"""
