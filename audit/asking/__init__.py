"""Ask a suspect: a plan of questions, the loop that asks and journals them, what it may cost."""
