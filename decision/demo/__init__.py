"""`nextplay demo`: the whole loop on the Complete Journey retail data, through the running service."""
