"""A first configuration, guessed from the files."""
