"""The tidy table in the forms that others accept; every number stays what it was."""
