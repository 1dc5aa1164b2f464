-- Added by an earlier file, validated in a file of its own: writes go on.
-- earlier: ALTER TABLE orders ADD CONSTRAINT code_short CHECK (length(code) < 10) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT code_short;
