"""For those who work on the package: what task folders say, the generated parts of READMEs, the register's entry."""
