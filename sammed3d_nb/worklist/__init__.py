"""Hundreds of cases and several people: which cases there are, who works on them, and how far they are."""
