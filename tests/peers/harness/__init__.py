"""What the tests with real peers share. Standard library only: it runs before anything is installed."""
