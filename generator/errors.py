"""Errors of the generator.

GenerationError          anything that stops crafting
├── SourceError          the owner's model cannot be built or does not fit its images
└── ImagesError          the images cannot be read or do not form a labelled set
"""


class GenerationError(Exception):
    """Crafting cannot go on; the message names the field and what to do."""


class SourceError(GenerationError):
    """The owner's model could not be built, loaded or run."""


class ImagesError(GenerationError):
    """The images could not be read as a labelled set."""
