"""What everything else is built on: types, tasks, errors, versions, atomic files."""
