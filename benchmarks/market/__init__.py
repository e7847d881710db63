"""A market whose truth is known: customers who answer as written, and what each offer causes."""
