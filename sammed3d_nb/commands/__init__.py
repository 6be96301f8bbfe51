"""The command line, launching of servers, and the doctor."""
