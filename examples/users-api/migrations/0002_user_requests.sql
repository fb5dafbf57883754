-- Which request made which user, so that the same request makes it once.
CREATE TABLE user_requests (
    key        text PRIMARY KEY,
    wanted     text NOT NULL,
    user_id    bigint REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now()
);
