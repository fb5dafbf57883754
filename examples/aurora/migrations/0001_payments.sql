CREATE TABLE payments (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key     text NOT NULL,
    cents   integer NOT NULL,
    paid_at timestamptz NOT NULL DEFAULT now()
);

-- Which requests came, so that the same request pays once.
CREATE TABLE payment_keys (
    key        text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);
