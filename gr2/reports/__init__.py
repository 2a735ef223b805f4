"""What the HTML pages of several stages have in common."""
