"""The contract of runners, what one is told and answers, and the runner that needs nothing."""
