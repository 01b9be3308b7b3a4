"""Results that other programs made, into runs; and runs into their formats."""
