"""Tables for the terminal and a report to read in a browser."""
