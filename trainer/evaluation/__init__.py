"""Looking at data, at answers and at networks: figures, without a picture and without a file written."""
