"""The Attribute World: rendered scenes whose object, shape, colour, texture and location are known."""
