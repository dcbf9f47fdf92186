"""The neighbours: models brought from other tools, and carried to them. One file, or one folder, each.

What is read here comes from anybody: it is limited before it is read, and nothing in it runs.
"""
