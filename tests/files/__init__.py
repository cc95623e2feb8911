"""Files that real exporters write, each read as its own library reads it."""
