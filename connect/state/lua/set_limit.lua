-- Set or remove a worker's limit; what it runs stays counted.
-- KEYS: 1 and 2 as in indexes, 3 worker capacity, 4 requests on the worker
-- ARGV: 1 to 4 as in indexes, 5 worker hash, 6 limit, 7 lifetime of capacity keys (ms)
-- Returns 1.

-- include: capacity_set
-- include: indexes

if tonumber(ARGV[6]) > 0 then
  redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[7])
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
else
  redis.call('DEL', KEYS[3])
end
settle(ARGV[5])
return 1
