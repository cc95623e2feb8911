"""Write an endpoint file, and check what an endpoint does with images."""
