"""What to do where 8 bits cost too much: ways to repair a model, and the search for the first that passes."""
