-- lockgate: phase=contract
ALTER TABLE parts DROP COLUMN note;
