"""How any network here is trained, on which device, by how many processes."""
