"""One of everything that a package can add to LEAM, each in a file of its own."""
