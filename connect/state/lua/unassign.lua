-- Stop counting a request on a worker.
-- KEYS: 1 worker capacity, 2 requests on the worker, 3 worker of the request
-- ARGV: 1 request id, 2 instance id, 3 lifetime of capacity keys (ms)
-- Returns 1, or 0 if the request is mapped to another instance.

-- include: capacity_set

if unassign(KEYS[2], KEYS[1], KEYS[3], ARGV[1], ARGV[2], ARGV[3]) then
  return 1
end
return 0
