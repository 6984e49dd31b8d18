"""What a user gives to prepare: folders, tables, selections of people."""
