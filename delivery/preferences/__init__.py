"""Where users say what they want to be sent, and see why they were."""
