"""What one login by CGI costs: `make bench-cgi`. See __main__.py."""
