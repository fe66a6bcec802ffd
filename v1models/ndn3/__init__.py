"""NDN3, the toolbox that the original experiments used, in a room of its own."""
