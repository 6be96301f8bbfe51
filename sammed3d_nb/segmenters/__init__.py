"""From prompts to a mask: cubes, their embeddings, zoom and growth."""
