"""What an owner signs: the bundle's value types, its file, and how its parts must fit."""
