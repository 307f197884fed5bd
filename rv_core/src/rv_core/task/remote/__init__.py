"""What differs in a task whose root is in a store: what several items leave is put there together."""
