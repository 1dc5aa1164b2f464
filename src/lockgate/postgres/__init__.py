"""The one room that speaks to the driver and to the SQL parser."""
