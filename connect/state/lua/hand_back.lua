-- Have a lease name the executor that it named before, if it still names the one that leaves.
-- KEYS: 1 lease
-- ARGV: 1 host and 2 port of the executor that leaves, 3 host and 4 port of the one before
-- Returns 1 if it did; 0 if the lease is gone, or names somebody else.

-- include: lease_record

local lease = read_lease(KEYS[1])
if not lease or lease.executorIP ~= ARGV[1] then
  return 0
end
if (tonumber(lease.executorPort) or 0) ~= tonumber(ARGV[2]) then
  return 0
end
set_executor(lease, ARGV[3], ARGV[4])
redis.call('SET', KEYS[1], cjson.encode(lease), 'KEEPTTL')
return 1
