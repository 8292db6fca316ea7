-- Set or remove a worker's limit; what it runs stays counted.
-- KEYS: 1 worker capacity, 2 requests on the worker
-- ARGV: 1 limit, 2 lifetime of capacity keys (ms)
-- Returns 1.

if tonumber(ARGV[1]) > 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
return 1
