"""What several benchmarks share: wording, options, rows of one data set."""
