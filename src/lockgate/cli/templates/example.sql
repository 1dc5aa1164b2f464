-- The first table: replace it with yours.
-- lockgate: phase=expand

CREATE TABLE note (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  body       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- lockgate: down
DROP TABLE note;
