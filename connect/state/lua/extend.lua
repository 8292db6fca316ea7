-- Extend a lease for the worker that runs the request.
-- KEYS: 1 lease, 2 worker of the request, 3 requests on the worker, 4 worker capacity
-- ARGV: 1 now (unix ms), 2 lease id that the worker holds, 3 new lease id,
--       4 end of the new lease (unix ms), 5 instance id, 6 '1' if the worker is limited,
--       7 request id, 8 lifetime of the lease key (ms), 9 of the mapping, 10 of capacity keys
-- Returns {outcome} or {outcome, lease id}; outcomes: extended, current, dropped,
--       not_leased, other_worker, superseded.

-- include: lease_record

local now = tonumber(ARGV[1])
local given, instance, request = ARGV[2], ARGV[5], ARGV[7]
local limited = ARGV[6] == '1'

local lease = read_lease(KEYS[1])
if not lease then
  return { 'not_leased' }
end
local mapped = redis.call('GET', KEYS[2])
if limited and mapped ~= instance then
  return { 'other_worker' }
end
if lease.leaseID ~= given and is_live(lease, now) then
  local same_worker = limited or lease.workerID == instance
  if lease.prevLeaseID == given and same_worker then
    return { 'current', lease.leaseID }
  end
  return { 'superseded' }
end
if tonumber(ARGV[4]) <= now then
  redis.call('DEL', KEYS[1])
  if not mapped or mapped == instance then
    redis.call('DEL', KEYS[2])
    redis.call('ZREM', KEYS[3], request)
  end
  return { 'dropped' }
end
lease.prevLeaseID = lease.leaseID
lease.leaseID = ARGV[3]
if limited then
  local expiry = math.ceil(tonumber(ARGV[4]) / 1000)
  redis.call('ZADD', KEYS[3], string.format('%.0f', expiry), request)
  redis.call('PEXPIRE', KEYS[2], ARGV[9])
  redis.call('PEXPIRE', KEYS[3], ARGV[10])
  redis.call('PEXPIRE', KEYS[4], ARGV[10])
else
  lease.workerID = instance
end
redis.call('SET', KEYS[1], cjson.encode(lease), 'PX', ARGV[8])
return { 'extended', ARGV[3] }
