"""The models that take part: mimics, copies, students, references."""
