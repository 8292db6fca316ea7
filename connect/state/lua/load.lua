-- Count the unexpired requests of a worker.
-- KEYS: 1 requests on the worker
-- ARGV: 1 now (unix ms)
-- Returns the number.

local now = tonumber(ARGV[1])
local seconds = '(' .. string.format('%.3f', now / 1000)
local ms = '(' .. string.format('%.0f', math.max(now, 100000000000))
return redis.call('ZCOUNT', KEYS[1], seconds, '100000000000')
  + redis.call('ZCOUNT', KEYS[1], ms, '+inf')
