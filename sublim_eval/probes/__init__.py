"""What is asked and how a reply is read, once for every harness; knows no framework and no model."""
