"""Is a config right: its structure by a strict schema, its meaning by `validate()`, and the schema for editors."""
