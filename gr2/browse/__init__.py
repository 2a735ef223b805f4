"""`gr2 browse RUN`: one page to look at slates, and at what every system made of them."""
