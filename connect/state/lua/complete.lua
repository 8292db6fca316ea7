-- Clean up after a request: un-assign it, delete its lease and its buffered response.
-- KEYS: 1 and 2 as in indexes, 3 lease, 4 buffered response, then if it was assigned:
--       5 worker capacity, 6 requests on the worker, 7 worker of the request
-- ARGV: 1 to 4 as in indexes, then if it was assigned: 5 worker hash, 6 request id,
--       7 instance id, 8 lifetime of capacity keys (ms)
-- Returns 1.

-- include: capacity_set
-- include: indexes

redis.call('DEL', KEYS[3], KEYS[4])
if #KEYS > 4 and unassign(KEYS[6], KEYS[5], KEYS[7], ARGV[6], ARGV[7], ARGV[8]) then
  settle(ARGV[5])
end
return 1
