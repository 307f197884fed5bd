"""`rv run` and `rv check`: from what was typed to a run that has ended.

It brings everything together, and knows neither how a runner starts tasks nor how what it shows is drawn.
"""
