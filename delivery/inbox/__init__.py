"""The in-app inbox: messages that are kept here until the app shows them to their user."""
