-- Stop counting a request on a worker.
-- KEYS: 1 and 2 as in indexes, 3 worker capacity, 4 requests on the worker,
--       5 worker of the request
-- ARGV: 1 to 4 as in indexes, 5 worker hash, 6 request id, 7 instance id,
--       8 lifetime of capacity keys (ms)
-- Returns 1, or 0 if the request is mapped to another instance.

-- include: capacity_set
-- include: indexes

if not unassign(KEYS[4], KEYS[3], KEYS[5], ARGV[6], ARGV[7], ARGV[8]) then
  return 0
end
settle(ARGV[5])
return 1
