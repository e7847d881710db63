"""Learning from feedback: rewards, value models, exploration, training, versions, off-policy evaluation."""
