"""The base classes of the heads. They are no kinds of heads in a recipe, because this is a package."""
