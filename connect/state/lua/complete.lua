-- Clean up after a request: un-assign it, delete its lease and its buffered response.
-- KEYS: 1 lease, 2 buffered response, then if it was assigned: 3 worker capacity,
--       4 requests on the worker, 5 worker of the request
-- ARGV: if it was assigned: 1 request id, 2 instance id, 3 lifetime of capacity keys (ms)
-- Returns 1.

-- include: capacity_set

redis.call('DEL', KEYS[1], KEYS[2])
if #KEYS > 2 then
  unassign(KEYS[4], KEYS[3], KEYS[5], ARGV[1], ARGV[2], ARGV[3])
end
return 1
