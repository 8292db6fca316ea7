-- Keep a worker's response for its executor; the first write wins.
-- KEYS: 1 buffered response, 2 lease
-- ARGV: 1 response, 2 lifetime (ms)
-- Returns {1 if this was the first, lease JSON or nil}.

local first = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return { first and 1 or 0, redis.call('GET', KEYS[2]) }
