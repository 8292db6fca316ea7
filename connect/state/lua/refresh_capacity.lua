-- Keep a limited worker's keys alive.
-- KEYS: 1 worker capacity, 2 requests on the worker
-- ARGV: 1 lifetime of capacity keys (ms)
-- Returns 1, or 0 if the worker has no limit.

local limited = redis.call('PEXPIRE', KEYS[1], ARGV[1])
if limited == 1 then
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return limited
