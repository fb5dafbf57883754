-- The sample function lists users. Here they are those who have ordered.
CREATE TABLE users (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE orders (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id   bigint NOT NULL REFERENCES users,
    placed_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO users (name) VALUES ('A customer');
