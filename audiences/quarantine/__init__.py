"""Events that were set aside: to be looked at, and taken in after a fix."""
