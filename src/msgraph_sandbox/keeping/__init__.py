"""What `--data` keeps: everything that a request changed is in a database before the request is answered."""
