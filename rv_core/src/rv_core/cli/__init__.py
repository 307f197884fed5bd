"""The command line: one module per verb, none of which is imported before it is chosen.

It reads what was typed and words what is printed; nothing below it knows of Typer.
"""
