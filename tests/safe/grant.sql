-- Rights to read are rows of a catalogue.
GRANT SELECT ON orders TO CURRENT_USER;
