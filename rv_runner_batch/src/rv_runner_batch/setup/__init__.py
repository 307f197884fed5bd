"""`rv batch`: an account made ready for the runner, and a look at one that is. What runs pipelines imports none of it."""
