"""What becomes of messages after they went out: what providers tell, and what users answer."""
