-- Lease a request, unless somebody's lease is live.
-- KEYS: 1 lease
-- ARGV: 1 now (unix ms), 2 new lease id, 3 executor host, 4 executor port,
--       5 lifetime of the key (ms)
-- Returns {1, new lease id}, or {0, lease id of the live one}, which then names this executor.

-- include: lease_record

local lease = read_lease(KEYS[1])
if lease and is_live(lease, tonumber(ARGV[1])) then
  set_executor(lease, ARGV[3], ARGV[4])
  redis.call('SET', KEYS[1], cjson.encode(lease), 'KEEPTTL')
  return { 0, lease.leaseID }
end
lease = { leaseID = ARGV[2] }
set_executor(lease, ARGV[3], ARGV[4])
redis.call('SET', KEYS[1], cjson.encode(lease), 'PX', ARGV[5])
return { 1, ARGV[2] }
