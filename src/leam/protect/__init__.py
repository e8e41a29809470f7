"""Whether changes of a person's pictures keep recognizers from linking them."""
